"""Tests the unchanged component in an independent runtime: the wasmtime command line.

Needs a built program (`cargo build -p whereby-agent`, or its path in WHEREBY_BIN) and wasmtime (program.py
says where it comes from). Run it with: python -m unittest discover tests/runtimes
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import guarded  # noqa: E402
import program  # noqa: E402
from proxy import Proxy  # noqa: E402
import wave_values  # noqa: E402

PROGRAM = program.WHEREBY
WASMTIME = program.wasmtime()
PATIENCE = 60
WRITES = ["create-room", "delete-room"]


def camel(value):
    """Returns the value with member names as in JSON."""
    if isinstance(value, list):
        return [camel(item) for item in value]
    if isinstance(value, dict):
        return {re.sub("-(.)", lambda it: it[1].upper(), name): camel(item) for name, item in value.items()}
    return value


def known(value):
    """Returns the value without null members, which WAVE omits."""
    if isinstance(value, list):
        return [known(item) for item in value]
    if isinstance(value, dict):
        return {name: known(item) for name, item in value.items() if item is not None}
    return value


class WasmtimeTest(unittest.TestCase):
    FILES = {"whereby.wasm": [], "reader.wasm": ["--reader"]}
    PERMISSIONS = None

    @classmethod
    def setUpClass(cls):
        home = tempfile.TemporaryDirectory()
        cls.addClassCleanup(home.cleanup)
        cls.home = pathlib.Path(home.name)
        base = {"PATH": os.environ["PATH"], "HOME": home.name}
        cls.environment = {**base, **program.simulator(base, home.name, cls.addClassCleanup)}
        if cls.PERMISSIONS is not None:
            cls.environment["WHEREBY_PERMISSIONS"] = cls.PERMISSIONS
        for name, flags in cls.FILES.items():
            subprocess.run([PROGRAM, "component", "export", name, *flags], env=base, cwd=home.name,
                           timeout=PATIENCE, check=True, stdout=subprocess.DEVNULL)

    def run_wasmtime(self, invocation, file="whereby.wasm", options=("-S", "http"), **environment):
        # A name without a value takes it from the environment, so that the token is in no process list.
        environment = {**self.environment, **environment}
        names = [name for name in environment if name.startswith("WHEREBY_")]
        given = [word for name in names for word in ("--env", name)]
        return subprocess.run(
            [WASMTIME, "run", *options, *given, "--invoke", invocation, file], env=environment, cwd=self.home,
            timeout=PATIENCE, capture_output=True, text=True, check=False)

    def invoke(self, invocation, file="whereby.wasm", **environment):
        """Returns the case of the result, `ok` or `err`, and its payload."""
        ran = self.run_wasmtime(invocation, file, **environment)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        [(case, value)] = wave_values.read(ran.stdout).items()
        return case, camel(value)

    def succeeds(self, invocation, file="whereby.wasm"):
        case, value = self.invoke(invocation, file)
        self.assertEqual(case, "ok", value)
        return value

    def host(self, function, **arguments):
        """Calls the same function through the program."""
        ran = subprocess.run(
            [PROGRAM, "call", function, json.dumps(arguments), "--json"], env=self.environment, cwd=self.home,
            timeout=PATIENCE, capture_output=True, text=True, check=False)
        document = json.loads(ran.stdout)
        self.assertTrue(document["success"], document)
        return known(document["data"])


class Calls(WasmtimeTest):
    def test_reading_gives_the_same_results_as_the_program(self):
        for file in self.FILES:
            rooms = self.succeeds("list-rooms(some(2), none)", file)
            self.assertEqual(len(rooms["data"]), 2)
            self.assertRegex(rooms["data"][0]["meetingUrl"], r"^https://[a-z-]+\.whereby\.com/")
            self.assertEqual(rooms["data"], self.host("list_rooms", limit=2)["data"])
            cursor = rooms["meta"]["nextCursor"]
            following = self.succeeds(f"list-rooms(some(2), some({json.dumps(cursor)}))", file)
            self.assertNotIn(rooms["data"][0], following["data"])
            name = rooms["data"][1]["roomName"]
            self.assertEqual(self.succeeds(f'get-room("{name}")', file), rooms["data"][1])
            meetings = self.succeeds("list-meetings(some(3), none, none, none, none)", file)
            self.assertEqual(meetings["data"], self.host("list_meetings", limit=3)["data"])
            self.assertGreater(meetings["data"][0]["duration"], 0)
            meeting = meetings["data"][0]["id"]
            found = self.succeeds(f'get-meeting("{meeting}")', file)
            self.assertEqual(found, self.host("get_meeting", meeting_id=meeting))
            self.assertTrue(found["participants"][0]["joinedAt"])
            user = self.succeeds("get-current-user()", file)
            self.assertEqual(user["organizationId"], self.host("get_current_user")["organizationId"])
            self.assertIs(user["authenticated"], True)

    def test_a_room_is_created_and_deleted(self):
        made = self.succeeds(
            'create-room(some(group), some("wave-"), none, some("2099-03-02T10:00:00Z"), some([host-room-url, '
            "lock-room-on-join, room-name-pattern(human-short), recording({type: cloud, start-trigger: "
            "some(automatic-second-participant)}), live-transcription({language: some(en-gb)})]))")
        self.assertRegex(made["roomName"], r"^wave-[a-z0-9]{6}$")
        self.assertIn("roomKey=", made["hostRoomUrl"])
        self.assertIs(made["endDateDefaulted"], False)
        self.assertEqual(self.host("get_room", room_name=made["roomName"])["meetingId"], made["meetingId"])
        gone = self.succeeds(f'delete-room("{made["roomName"]}")')
        self.assertEqual(gone, {"deleted": True, "roomName": made["roomName"], "meetingId": made["meetingId"]})
        case, error = self.invoke(f'get-room("{made["roomName"]}")')
        self.assertEqual((case, list(error)), ("err", ["notFound"]))

    def test_errors_are_values(self):
        for invocation, case, said in [
            ('get-room("no-such-room")', "notFound", "no room `no-such-room`"),
            ('delete-room("no-such-room")', "notFound", "no room `no-such-room`"),
            ("list-rooms(some(0), none)", "invalidArgument", "from 1 to 100"),
        ]:
            kind, error = self.invoke(invocation)
            self.assertEqual((kind, list(error)), ("err", [case]))
            self.assertIn(said, error[case])
        kind, error = self.invoke("list-rooms(none, none)", WHEREBY_ACCESS_TOKEN="no-key-of-whereby")
        self.assertEqual((kind, list(error)), ("err", ["unauthorized"]))
        # Nothing listens on port 1.
        kind, error = self.invoke("list-rooms(none, none)", WHEREBY_API_URL="http://127.0.0.1:1/v1")
        self.assertEqual((kind, list(error)), ("err", ["unavailable"]))


class Authority(WasmtimeTest):
    def test_the_reader_has_no_function_that_writes(self):
        for name, arguments in zip(WRITES, ["", '"a"']):
            ran = self.run_wasmtime(f"{name}({arguments})", "reader.wasm")
            self.assertNotEqual(ran.returncode, 0)
            self.assertIn(f"No exported func named `{name}`", ran.stderr)
        self.assertEqual(self.exported("reader.wasm"), {"read"})
        self.assertEqual(self.exported("whereby.wasm"), {"read", "write"})

    def exported(self, file):
        """Returns the interfaces with functions that a file exports."""
        ran = subprocess.run([PROGRAM, "component", "inspect", file, "--json"], env=self.environment,
                             cwd=self.home, timeout=PATIENCE, capture_output=True, text=True, check=True)
        names = {export["name"].split("/")[1].split("@")[0] for export in json.loads(ran.stdout)["exports"]}
        return names - {"types"}

    def test_without_http_it_does_not_start(self):
        ran = self.run_wasmtime("list-rooms(none, none)", options=())
        self.assertNotEqual(ran.returncode, 0)
        self.assertIn("wasi:http", ran.stderr)


class GuardedCalls(Calls):
    """The same calls of the guarded component, unchanged."""

    FILES = {"whereby.wasm": ["--guarded"], "reader.wasm": ["--guarded", "--reader"]}
    PERMISSIONS = guarded.ALLOW


class Guarded(WasmtimeTest):
    FILES = {"whereby.wasm": ["--guarded"]}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        guarded.export(str(cls.home / "hostile.wasm"), "--component", guarded.hostile())

    def setUp(self):
        port = int(self.environment["WHEREBY_API_URL"].split(":")[2].split("/")[0])
        self.proxy = Proxy(port)
        self.addCleanup(self.proxy.close)
        self.url = f"http://127.0.0.1:{self.proxy.port}/v1"

    def call(self, invocation, file="whereby.wasm", **environment):
        self.proxy.requests.clear()
        return self.invoke(invocation, file, WHEREBY_API_URL=self.url, **environment)

    def denied(self, invocation, said, **environment):
        """A call that is refused, and reaches nothing."""
        case, error = self.call(invocation, **environment)
        self.assertEqual((case, list(error)), ("err", ["accessDenied"]), error)
        self.assertIn(said, error["accessDenied"])
        self.assertEqual(self.proxy.requests, [])

    def test_without_rules_reading_is_allowed_and_writing_is_denied(self):
        case, rooms = self.call("list-rooms(some(2), none)")
        self.assertEqual((case, self.proxy.requests), ("ok", ["GET"]))
        self.denied("create-room(none)", "create_room")
        self.denied(f'delete-room("{rooms["data"][0]["roomName"]}")', "delete_room")

    def test_a_condition_lets_one_call_through_and_stops_another(self):
        case, made = self.call('create-room(none, some("bot-"))', WHEREBY_PERMISSIONS=guarded.BOTS)
        self.assertEqual((case, self.proxy.requests), ("ok", ["POST"]))
        self.assertRegex(made["roomName"], "^bot-")
        self.denied('create-room(none, some("mine-"))', "rooms", WHEREBY_PERMISSIONS=guarded.BOTS)
        self.denied("create-room(none)", "rooms", WHEREBY_PERMISSIONS=guarded.BOTS)
        self.denied(f'delete-room("{made["roomName"]}")', "delete_room", WHEREBY_PERMISSIONS=guarded.BOTS)

    def test_people_are_hidden_if_the_variable_says_so(self):
        _, meetings = self.call("list-meetings(some(3), none, none, none, none)")
        invocation = f'get-meeting("{meetings["data"][0]["id"]}")'
        case, shown = self.call(invocation)
        self.assertEqual(case, "ok", shown)
        names = {person["name"] for person in shown["participants"] if person.get("name")}
        self.assertTrue(names, shown)
        case, hidden = self.call(invocation, WHEREBY_PARTICIPANTS="hidden")
        self.assertEqual(case, "ok", hidden)
        self.assertFalse([name for name in names if name in json.dumps(hidden)], hidden)
        self.denied(invocation, "WHEREBY_PARTICIPANTS", WHEREBY_PARTICIPANTS="perhaps")

    def test_rules_that_need_a_host_are_refused_at_the_first_call(self):
        for rules, said in [
            ('write = "ask"', "ask"),
            ('[functions.create_room]\npermission = "allow"\nmax_per_day = 5', "max_per_day"),
            ('[functions.create_room]\npermission = "allow"\nmax_per_hour = 5', "max_per_hour"),
            ('[functions.delete_room]\npermission = "allow"\ncreated_by = "agent"', "created_by"),
            ('write = "perhaps"', "`write` must be"),
            ("write = ", "WHEREBY_PERMISSIONS"),
        ]:
            self.denied("list-rooms(none, none)", said, WHEREBY_PERMISSIONS=rules)

    def test_a_hostile_middle_gets_nothing_done(self):
        other = guarded.Other(self.addCleanup)
        token = self.environment["WHEREBY_ACCESS_TOKEN"]
        for function, arguments, succeeds, requests in guarded.attempts(other.address):
            self.proxy.requests.clear()
            ran = self.run_wasmtime(wave_values.invocation(function, arguments), "hostile.wasm",
                                    WHEREBY_API_URL=self.url, WHEREBY_PERMISSIONS=guarded.ALLOW)
            self.assertEqual(self.proxy.requests, requests, (arguments, ran))
            self.assertNotIn(token, ran.stdout + ran.stderr)
            self.assertEqual(ran.stdout.startswith("ok("), succeeds, (arguments, ran))
        self.assertEqual(other.connections, 0)


class Wave(unittest.TestCase):
    def test_values_are_read(self):
        for text, value in [
            ("none", None), ("some(5)", 5), ("-2.5", -2.5), ("[]", []), ("[1, 2,]", [1, 2]), ("true", True),
            (r'"a\"b\u{e9}\n"', 'a"b\u00e9\n'), ("{a-b: some([x, y(1)])}", {"a-b": ["x", {"y": 1}]}),
            ("{a: %none, b: none}", {"a": "none", "b": None}),
        ]:
            self.assertEqual(wave_values.read(text), value)
        for text in ("", "[1", "{a 1}", "1 2", "f(1"):
            with self.assertRaises(ValueError):
                wave_values.read(text)
