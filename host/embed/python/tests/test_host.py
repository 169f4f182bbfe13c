"""Tests the host program: its rules, its questions, and how it ends."""

import signal
import subprocess
import sys
import threading
import time
import unittest

from support import ALLOWED, PATIENCE, PROGRAM, Case, SilentApi

from whereby import Host, WherebyComponent, WherebyError
from whereby.errors import ApprovalRequired, Denied, Timeout

# Opens a host in another interpreter, runs the test's code, and prints the process id.
SCRIPT = """
import json, os, sys
from whereby import Host, WherebyComponent, WherebyError
w = WherebyComponent(Host({program!r}, environment={environment!r}))
print(w._runtime._child._process.pid, flush=True)
{then}
"""


def is_running(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class HostProgram(Case):
    def silent(self) -> SilentApi:
        api = SilentApi()
        self.addCleanup(api.close)
        self.url = api.url
        return api

    def child(self, w: WherebyComponent) -> "subprocess.Popen[bytes]":
        child: subprocess.Popen[bytes] = w._runtime._child._process  # type: ignore[attr-defined]
        return child

    def in_background(self, call: object) -> tuple[threading.Thread, list[WherebyError]]:
        failed: list[WherebyError] = []

        def work() -> None:
            try:
                call()  # type: ignore[operator]
            except WherebyError as error:
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        return thread, failed

    def refuses(self, host: Host, kind: str, said: str) -> WherebyError:
        with self.assertRaises(WherebyError) as caught:
            WherebyComponent(host)
        self.assertEqual(caught.exception.kind, kind, caught.exception)
        self.assertIn(said, caught.exception.message)
        return caught.exception


class Rules(HostProgram):
    def test_a_denial_says_what_is_allowed(self) -> None:
        self.simulate()
        with WherebyComponent(self.host('[permissions]\nwrite = "deny"\n')) as w:
            with self.assertRaises(Denied) as caught:
                w.create_room()
            self.assertIn("allowed: list_rooms, ", caught.exception.hint or "")
            # Only the owner may see the rule that denies it.
            self.assertNotIn("permissions.", f"{caught.exception} {caught.exception.hint}")
            self.assertTrue(caught.exception.hint)
            self.assertEqual(len(w.list_rooms(limit=1)["data"]), 1)

    def test_a_person_approves_exactly_one_call(self) -> None:
        self.simulate()
        with WherebyComponent(self.host("")) as w:
            with self.assertRaises(ApprovalRequired) as caught:
                w.create_room(room_name_prefix="asked-")
            error = caught.exception
            assert error.approval_id and error.hint
            self.assertIn(f"whereby approvals approve {error.approval_id}", error.hint)
            self.assertEqual(error.effect, "none")
            self.whereby("approvals", "approve", error.approval_id)
            with self.assertRaises(ApprovalRequired):
                w.create_room(room_name_prefix="other-")
            self.assertTrue(w.create_room(room_name_prefix="asked-")["roomName"].startswith("asked-"))
            with self.assertRaises(ApprovalRequired):
                w.create_room(room_name_prefix="asked-")

    def test_an_approver_is_shown_the_call_and_decides(self) -> None:
        self.simulate()
        shown: list[str] = []
        answers: list[bool | None] = [True, False, None]

        def approver(question: str) -> bool | None:
            shown.append(question)
            return answers.pop(0)

        with WherebyComponent(self.host("", approver=approver)) as w:
            w.create_room(room_name_prefix="yes-")
            with self.assertRaises(Denied):
                w.create_room(room_name_prefix="no-")
            with self.assertRaises(ApprovalRequired):
                w.create_room(room_name_prefix="later-")
        for question, prefix in zip(shown, ("yes-", "no-", "later-"), strict=True):
            for part in ("`work`", "create_room", f'"room_name_prefix": "{prefix}"'):
                self.assertIn(part, question)
        made = [row for row in self.audit() if row["approved_by"] == "elicitation"]
        self.assertEqual(len(made), 1)

    def test_an_approver_that_fails_approves_nothing(self) -> None:
        self.simulate()
        raised: list[object] = []
        before = threading.excepthook
        self.addCleanup(setattr, threading, "excepthook", before)
        threading.excepthook = lambda happened: raised.append(happened.exc_value)

        def approver(_: str) -> bool:
            raise RuntimeError("nobody is there")

        for answer in (approver, lambda _: "yes"):
            with WherebyComponent(self.host("", approver=answer)) as w, self.assertRaises(ApprovalRequired):
                w.create_room()
        self.assertEqual([str(error) for error in raised], ["nobody is there"])

    def test_other_calls_continue_and_time_stops_during_a_question(self) -> None:
        self.simulate()
        is_asked, may_answer = threading.Event(), threading.Event()

        def approver(_: str) -> bool:
            is_asked.set()
            return may_answer.wait(PATIENCE)

        with WherebyComponent(self.host("", approver=approver, timeout=2.0)) as w:
            thread, failed = self.in_background(w.create_room)
            self.assertTrue(is_asked.wait(PATIENCE))
            w.list_rooms()
            thread.join(2.5)
            self.assertTrue(thread.is_alive())
            may_answer.set()
            thread.join()
        self.assertEqual(failed, [])

    def test_the_account_and_the_configuration_are_chosen(self) -> None:
        self.simulate()
        file = self.configure(accounts=("work", "second"))
        other = file.rename(self.home / "other.toml")
        host = Host(PROGRAM, account="second", config=other, environment=self.environment)
        with WherebyComponent(host) as w:
            w.list_rooms()
        self.assertEqual([row["account"] for row in self.audit()], ["second"])
        error = self.refuses(
            Host(PROGRAM, account="--quiet", config=other, environment=self.environment), "usage", "--quiet"
        )
        self.assertIn("second, work", error.message)
        only = self.configure()
        with WherebyComponent(Host(PROGRAM, account="work", config=only, environment=self.environment)) as w:
            w.list_rooms()
        self.refuses(
            Host(PROGRAM, account="second", config=only, environment=self.environment), "usage", "second"
        )
        only.unlink()
        variables = {"WHEREBY_ACCESS_TOKEN": self.token, "WHEREBY_API_URL": self.url}
        with WherebyComponent(
            Host(PROGRAM, account="default", environment=self.environment | variables)
        ) as w:
            w.list_rooms()

    def test_standard_error_is_logged(self) -> None:
        self.simulate()
        self.environment["WHEREBY_ACCESS_TOKEN"] = "without-effect"
        with self.assertLogs("whereby", "WARNING") as logged, WherebyComponent(self.host()) as w:
            w.list_rooms()
        self.assertIn("WHEREBY_ACCESS_TOKEN", "".join(logged.output))


class Ends(HostProgram):
    def test_failed_starts(self) -> None:
        self.configure()
        error = self.refuses(Host("no-such-program"), "configuration", "cannot be started")
        self.assertIn("cargo install whereby-agent", error.hint or "")
        self.refuses(Host(self.home), "configuration", "cannot be started")
        self.refuses(Host("a\0b"), "configuration", "cannot be started")
        self.refuses(Host("true"), "internal", "ended with exit status 0")
        self.refuses(Host(PROGRAM, timeout=0), "configuration", "timeout")
        gone = Host(PROGRAM, config=self.home / "none.toml", environment=self.environment)
        self.refuses(gone, "configuration", "none.toml")

    def test_programs_that_are_not_whereby(self) -> None:
        for script, kind, said in [
            ("echo hello; sleep 60", "internal", "not JSON-RPC"),
            ("echo 17; sleep 60", "internal", "not JSON-RPC"),
            ("echo gone wrong >&2; exit 4", "internal", "exit status 4\ngone wrong"),
            (
                'read a; echo \'{"jsonrpc":"2.0","id":1,"result":{}}\'; cat >/dev/null',
                "configuration",
                "not `whereby mcp`",
            ),
            (
                'read a; echo \'{"jsonrpc":"2.0","id":1,"error":{"message":"no"}}\'; cat >/dev/null',
                "internal",
                "refused initialize: no",
            ),
            ("exec cat", "internal", "no initialize"),
        ]:
            with self.subTest(script=script):
                program = self.home / "program"
                program.write_text(f"#!/bin/sh\n{script}\n")
                program.chmod(0o755)
                self.refuses(Host(program), kind, said)

    def test_a_host_that_dies_during_a_call(self) -> None:
        api = self.silent()
        for function, effect in [("list_rooms", "none"), ("create_room", "unknown")]:
            with WherebyComponent(self.host()) as w:
                api.is_asked.clear()
                thread, failed = self.in_background(getattr(w, function))
                self.assertTrue(api.is_asked.wait(PATIENCE))
                self.child(w).send_signal(signal.SIGKILL)
                thread.join()
                self.assertEqual([(error.kind, error.effect) for error in failed], [("internal", effect)])
                self.assertIn("by signal 9", failed[0].message)
                with self.assertRaises(WherebyError) as caught:
                    w.list_rooms()
                self.assertEqual((caught.exception.kind, caught.exception.effect), ("internal", "none"))

    def test_closing_ends_running_calls(self) -> None:
        api = self.silent()
        w = WherebyComponent(self.host())
        thread, failed = self.in_background(w.list_rooms)
        self.assertTrue(api.is_asked.wait(PATIENCE))
        w.close()
        thread.join()
        self.assertEqual([error.kind for error in failed], ["usage"])
        self.assertEqual(self.child(w).returncode, 0)
        self.assertEqual([row["outcome"]["kind"] for row in self.audit()], ["cancelled"])

    def test_a_call_that_takes_too_long_is_cancelled(self) -> None:
        self.silent()
        with WherebyComponent(self.host(timeout=1.0)) as w:
            for function, effect in [("list_rooms", "none"), ("create_room", "unknown")]:
                with self.assertRaises(Timeout) as caught:
                    getattr(w, function)()
                self.assertEqual(caught.exception.effect, effect)
                self.assertTrue(caught.exception.hint)
            self.assertIsNone(self.child(w).poll())
        kinds = {row["outcome"]["kind"] for row in self.audit()}
        self.assertEqual(kinds, {"cancelled"})

    def test_an_error_in_the_block_ends_the_program(self) -> None:
        with self.assertRaises(ZeroDivisionError), WherebyComponent(self.host()) as w:
            raise ZeroDivisionError
        self.assertIsNotNone(self.child(w).returncode)

    def test_the_program_ends_when_it_is_garbage_collected(self) -> None:
        w = WherebyComponent(self.host())
        child = self.child(w)
        del w
        self.assertIsNotNone(child.returncode)

    def script(self, then: str) -> "subprocess.Popen[str]":
        self.configure(ALLOWED)
        code = SCRIPT.format(program=PROGRAM, environment=self.environment, then=then)
        python = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.addCleanup(python.kill)
        return python

    def test_the_program_ends_with_the_interpreter(self) -> None:
        for then in ("", "sys.exit(3)", "raise ValueError", "os._exit(0)", "os.kill(os.getpid(), 9)"):
            with self.subTest(then=then):
                said, _ = self.script(then).communicate(timeout=PATIENCE)
                until = time.monotonic() + PATIENCE
                while is_running(int(said)) and time.monotonic() < until:
                    time.sleep(0.01)
                self.assertFalse(is_running(int(said)))

    def test_a_fork_does_not_end_the_program(self) -> None:
        python = self.script(
            "child = os.fork()\nif child == 0: sys.exit(0)\nos.waitpid(child, 0)\n"
            "try: w.list_rooms(limit=0)\nexcept WherebyError as error: print(error.kind)\n"
        )
        said, failed = python.communicate(timeout=PATIENCE)
        self.assertEqual(said.split()[1:], ["invalid-argument"], failed)

    def test_ctrl_c_interrupts_the_call_and_not_the_host(self) -> None:
        api = self.silent()
        python = self.script(
            # A shell makes background tests and their children ignore the signal.
            "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "try: w.list_rooms()\nexcept KeyboardInterrupt: print('interrupted')\n"
            "try: w.list_rooms(limit=0)\nexcept WherebyError as error: print(error.kind)\n"
        )
        self.assertTrue(api.is_asked.wait(PATIENCE))
        python.send_signal(signal.SIGINT)
        said, failed = python.communicate(timeout=PATIENCE)
        self.assertEqual(said.split()[1:], ["interrupted", "invalid-argument"], failed)


if __name__ == "__main__":
    unittest.main()
