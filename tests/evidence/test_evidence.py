"""Runs the commands of docs/audit.md in a shell, and sends an export to a collector of OpenTelemetry.

Needs a built program (`cargo build -p whereby-agent`, or its path in WHEREBY_BIN), jq, and the packages of
requirements.txt beside this file. Run it with: python -m unittest discover tests/evidence
"""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import rotel

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "runtimes"))
import program  # noqa: E402

COLLECTOR = pathlib.Path(rotel.__file__).with_name("rotel-agent")
PAGE = (program.ROOT / "docs" / "audit.md").read_text()
PATIENCE = 30


def block(beginning):
    """Returns the shell block of the page that begins like this."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S)
    found = [text for text in blocks if text.startswith(beginning)]
    assert len(found) == 1, (beginning, found)
    return found[0]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class EvidenceTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = pathlib.Path(folder.name) / "home"
        bin = pathlib.Path(folder.name) / "bin"
        for path in (self.home, bin, self.home / "audit"):
            path.mkdir()
        (bin / "whereby").symlink_to(program.WHEREBY)
        # Keeps what it is told, as syslog would.
        (bin / "logger").write_text('#!/bin/sh\nwhile [ "$1" != --file ]; do shift; done\ncat "$2" >> ~/syslog\n')
        (bin / "logger").chmod(0o755)
        self.environment = {"PATH": f"{bin}:{os.environ['PATH']}", "HOME": str(self.home)}
        self.environment |= program.simulator(self.environment, self.home, self.addCleanup)

    def shell(self, script):
        ran = subprocess.run(["bash", "-euc", script], env=self.environment, cwd=self.home / "audit",
                             capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""), script)
        return ran.stdout

    def calls(self, count):
        for _ in range(count):
            self.shell("whereby call list_rooms --arg limit=1")

    def ids(self, file):
        lines = (self.home / "audit" / file).read_text().splitlines()
        return [json.loads(line)["id"] for line in lines]

    def test_the_questions_of_the_page_have_answers(self):
        room = json.loads(self.shell("whereby call create_room --force --json"))["data"]["roomName"]
        self.shell("whereby configure --function delete_room=deny")
        self.shell("(whereby call delete_room --arg room_name=x || test $? = 4) 2>/dev/null")
        answers = self.shell(block("# Who created what last week?"))
        self.assertIn(f"cli\t{room}\n", answers)
        self.assertIn("delete_room\tdelete_room by the account", answers)
        self.assertRegex(answers, r"(?m)^\d{4}-\d\d-\d\d\t\t1$")

    def test_an_export_goes_on_where_it_ended(self):
        self.calls(3)
        first, after = block("whereby audit export").splitlines()
        self.shell(first)
        self.calls(2)
        self.shell(after)
        self.assertEqual(len(set(self.ids("calls.jsonl"))), 5)
        self.shell(after)
        self.assertEqual(len(self.ids("calls.jsonl")), 5)

    def test_a_hash_that_was_kept_elsewhere_proves_the_rows(self):
        line = block("whereby audit verify --expected-head")
        heads = self.home / "heads.jsonl"
        self.shell(f"whereby configure --set audit.head_file={heads}")
        self.calls(2)
        line = line.replace("/mnt/append-only/whereby-heads.jsonl", str(heads))
        self.assertIn("unchanged", self.shell(line))
        heads.write_text(json.dumps({"hash": "0" * 63 + "1"}) + "\n")
        self.assertEqual(self.shell(f"({line.strip()}) | grep -c 'no row has the expected hash'"), "1\n")

    def test_cron_ships_each_row_once_to_syslog(self):
        line = re.sub(r"^[^ ]+( [^ ]+){4} +", "", block("*/5")).strip()
        for calls in (2, 0, 3):
            self.calls(calls)
            # With nothing new, the test for an empty file fails, and nothing is sent.
            self.shell(f"({line}) 2>/dev/null || [ {calls} = 0 ]")
        self.assertEqual(len(set(self.ids("../syslog"))), 5)
        self.assertEqual(len(self.ids("../syslog")), 5)

    def test_a_collector_receives_every_row(self):
        http, grpc = free_port(), free_port()
        log = self.home / "collector.log"
        with log.open("w") as output:
            collector = subprocess.Popen(
                [COLLECTOR, "start", "--otlp-http-endpoint", f"127.0.0.1:{http}", "--otlp-grpc-endpoint",
                 f"127.0.0.1:{grpc}", "--exporter", "blackhole", "--debug-log", "logs"],
                env={"NO_COLOR": "1"}, stdout=output, stderr=output)
        self.addCleanup(program.stop, collector)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with socket.socket() as connection:
                if connection.connect_ex(("127.0.0.1", http)) == 0:
                    break
        script = block("#!/bin/sh\nset -eu").replace("127.0.0.1:4318", f"127.0.0.1:{http}")
        script = "\n".join(line for line in script.splitlines() if not line.startswith("#!"))
        self.calls(1)
        self.shell("whereby call create_room --force; whereby freeze --reason look; whereby unfreeze")
        self.shell(f"({script}) 2>/dev/null")
        answer = json.loads((self.home / "audit" / "answer").read_text())
        self.assertIn(answer.get("partialSuccess"), (None, {}))
        # More than fit one line.
        for _ in range(6):
            self.shell("""whereby lua -e 'for _ = 1, 100 do app.integrations.whereby.list_rooms({limit = 1}) end'""")
        self.shell(f"({script}) 2>/dev/null")

        def received():
            plain = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text())
            return sum(map(int, re.findall(r"Received logs\..*\blogs=(\d+)", plain)))

        while time.monotonic() < until and received() < 604:
            time.sleep(0.1)
        self.assertEqual(received(), 604, log.read_text())


if __name__ == "__main__":
    unittest.main()
