"""Tests failures of the machine: the log has everything that was sent, and nothing is written twice.

Run it like test_mcp.py, which has the shared code.
"""

import json
import random
import resource
import signal
import sqlite3
import subprocess
import unittest

from test_mcp import PATIENCE, PROGRAM, McpTest

BEGIN = {"id": 0, "method": "initialize", "params": {
    "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}}


class BadDays(McpTest):
    def serve(self):
        server = subprocess.Popen([PROGRAM, "mcp"], env=self.environment, cwd=self.home,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.stop, server)
        return server

    @staticmethod
    def send(server, *messages):
        for message in messages:
            server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        server.stdin.flush()

    def under(self, limit, value, *arguments):
        """Runs the program with a resource limit."""
        def limits():
            # Exceeding the file size is a write error instead of a signal.
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(limit, (value, value))
        return subprocess.run([PROGRAM, *arguments], env=self.environment, cwd=self.home, timeout=PATIENCE,
                              capture_output=True, text=True, check=False, preexec_fn=limits)

    def test_a_server_killed_at_any_moment_leaves_a_row_for_each_sent_call(self):
        self.configure('[permissions]\nwrite = "allow"\n')
        chance = random.Random(20261124)
        asked = 0
        for _ in range(8):
            server = self.serve()
            self.send(server, BEGIN, {"method": "notifications/initialized"})
            before = len(self.proxy.requests)
            calls = []
            for number in range(40):
                tool = "create_room" if number % 4 == 0 else "list_rooms"
                asked += tool == "create_room"
                calls.append({"id": number + 1, "method": "tools/call",
                              "params": {"name": "whereby_" + tool, "arguments": {}}})
            self.send(server, *calls)
            answers = chance.randrange(0, 30)
            for _ in range(1 + answers):
                server.stdout.readline()
            server.send_signal(signal.SIGKILL)
            server.wait(PATIENCE)
            self.assertGreaterEqual(len(self.proxy.requests), before)
        rows = self.audit_all()
        sent = list(self.proxy.requests)
        for method, function in [("POST", "create_room"), ("GET", "list_rooms")]:
            logged = sum(row["function"] == function for row in rows)
            self.assertGreaterEqual(logged, sent.count(method), function)
        self.assertLessEqual(sent.count("POST"), asked)
        database = sqlite3.connect(f"file:{self.home}/state/whereby/state.db?mode=ro", uri=True)
        self.assertEqual(database.execute("PRAGMA integrity_check").fetchone(), ("ok",))
        database.close()
        self.assertEqual(self.whereby("audit", "verify").returncode, 0)

    def audit_all(self):
        return json.loads(self.whereby("audit", "--json", "--limit", "10000").stdout)["audit"]

    def test_on_a_full_disk_reads_work_and_writes_are_refused(self):
        self.configure('[permissions]\nwrite = "allow"\n')
        self.whereby("call", "list_rooms")
        before = len(self.proxy.requests)
        ran = self.under(resource.RLIMIT_FSIZE, 0, "call", "list_rooms", "--json")
        self.assertEqual(ran.returncode, 0, ran)
        self.assertIn("not fully recorded in the audit log", ran.stderr)
        self.assertEqual(len(self.proxy.requests), before + 1)
        ran = self.under(resource.RLIMIT_FSIZE, 0, "call", "create_room", "--json")
        self.assertEqual(ran.returncode, 3, ran)
        self.assertIn("state.db", json.loads(ran.stdout)["error"]["message"])
        self.assertEqual(len(self.proxy.requests), before + 1)
        # The failed write leaves nothing behind.
        self.assertEqual(self.whereby("call", "create_room").returncode, 0)
        self.assertEqual(self.whereby("audit", "verify").returncode, 0)

    def test_without_file_descriptors_there_is_a_clear_error_and_no_write(self):
        self.configure('[permissions]\nwrite = "allow"\n')
        self.whereby("call", "list_rooms")
        worked = 0
        for most in range(4, 40, 3):
            before = self.proxy.requests.count("POST")
            ran = self.under(resource.RLIMIT_NOFILE, most, "call", "create_room", "--json")
            sent = self.proxy.requests.count("POST") - before
            if ran.returncode == 0:
                worked += 1
                self.assertEqual(sent, 1)
                continue
            self.assertIn(ran.returncode, (1, 3, 8), ran)
            self.assertEqual(sent, 0, ran)
            if ran.stdout:
                self.assertTrue(json.loads(ran.stdout)["error"]["message"], ran)
            else:
                self.assertTrue(ran.stderr, ran)
        self.assertGreater(worked, 0, "it never had enough")


if __name__ == "__main__":
    unittest.main()
