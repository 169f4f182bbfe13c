"""Tests the workflow of docs/scripts-and-ci.md, which makes a room for each pull request: its shell steps run against
the simulator.

Run it like test_packages.py.
"""

import contextlib
import json
import os
import socket
import threading
import unittest

import yaml

import steps
import support
import test_mcp

# There is one comment.
EDITS = "--edit-last --create-if-none"
PAGE = support.ROOT / "docs" / "scripts-and-ci.md"


def workflow():
    [block] = [it.split("```")[0] for it in PAGE.read_text().split("```yaml\n")[1:]]
    return yaml.safe_load(block)


class LosesAnswers:
    """Forwards to the API, but closes the connection instead of answering a POST."""

    def __init__(self, port):
        self.port = port
        self.socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.serve, daemon=True).start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}/v1"

    def serve(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.connection, args=[client], daemon=True).start()

    def connection(self, client):
        server = socket.create_connection(("127.0.0.1", self.port))
        lost = threading.Event()
        threading.Thread(target=self.answers, args=[server, client, lost], daemon=True).start()
        # The other direction ends both.
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if data.startswith(b"POST"):
                    lost.set()
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def answers(server, client, lost):
        with server, client:
            while data := server.recv(65536):
                if lost.is_set():
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)

    def close(self):
        self.socket.close()


class Rooms(test_mcp.McpTest):
    def setUp(self):
        super().setUp()
        self.workflow = workflow()
        self.job = self.workflow["jobs"]["room"]
        tools = self.home / "tools"
        tools.mkdir()
        (tools / "whereby").symlink_to(support.WHEREBY)
        # GitHub's own program; the comments are what it is given.
        (tools / "gh").write_text('#!/bin/sh\nprintf "%s\\n" "$*" >>"$HOME/comments"\n')
        (tools / "gh").chmod(0o755)
        self.path = f"{tools}:{os.environ['PATH']}"
        self.runs = 0
        self.api = f"http://127.0.0.1:{self.proxy.port}/v1"
        self.events = []

    def event(self, number, action, repository="owner/app"):
        """Runs the job for an event. Returns the processes of its steps, by their names; None if it is skipped."""
        expressions = steps.Expressions({
            "github.event.number": number, "github.event.action": action, "github.repository": "owner/app",
            "github.event.pull_request.head.repo.full_name": repository, "github.token": "github",
            "secrets.WHEREBY_CI_TOKEN": self.token, "steps.room.outputs.url": ""})
        if not expressions.holds(self.job["if"]):
            return None
        self.runs += 1
        # Every run has a new machine.
        home = self.home / f"run{self.runs}"
        runner = steps.Runner(home, {"PATH": self.path, "HOME": str(home), "CI": "true"})
        expressions.values["runner.temp"] = str(runner.temporary)
        job = {name: expressions.fill(value) for name, value in self.job["env"].items()}
        done = {}
        for step in self.job["steps"]:
            if "run" not in step or not expressions.holds(step.get("if")):
                continue
            own = {name: expressions.fill(value) for name, value in step.get("env", {}).items()}
            script = step["run"]
            if step["name"].startswith("Allow"):
                # The account uses the API of the test.
                script += f"\nprintf 'api_url = \"%s\"\\n' '{self.api}' >>\"$RUNNER_TEMP/whereby.toml\"\n"
            done[step["name"]] = ran = runner.run(script, {**job, **own})
            if step.get("id"):
                for name, value in runner.outputs.items():
                    expressions.values[f"steps.{step['id']}.outputs.{name}"] = value
            if ran.returncode:
                break
        comments = home / "comments"
        self.comments = comments.read_text().splitlines() if comments.exists() else []
        for ran in done.values():
            self.assertNotIn(self.token, ran.stdout + ran.stderr)
        return done

    def ok(self, *event):
        done = self.event(*event)
        for name, ran in done.items():
            self.assertEqual(ran.returncode, 0, (name, ran))
        return done

    def writes(self):
        return [it for it in self.proxy.requests if it != "GET"]

    def rooms(self):
        answer = json.loads(self.whereby("call", "list_rooms", "--prefix", "pr-", "--json").stdout)
        return [it["roomName"] for it in answer["data"]["data"]]

    def test_a_pull_request_has_one_room_until_it_is_closed(self):
        done = self.ok(12, "opened")
        [room] = self.rooms()
        self.assertTrue(room.startswith("pr-12-"))
        [comment] = self.comments
        self.assertRegex(comment, rf"^pr comment 12 --repo owner/app --body Review room: (https://\S+/{room}) {EDITS}$")
        # The host's URL is masked before anything else could print it, and nowhere else.
        said = done["Find or create the room"].stdout.splitlines()
        self.assertEqual([line.split("?")[0] for line in said], [f"::add-mask::{comment.split()[-3]}"])
        self.assertIn("roomKey=", said[0])
        # A push, a re-run and reopening find the room. They edit the comment, which may have failed before.
        for action in ("synchronize", "opened", "reopened"):
            self.ok(12, action)
            self.assertEqual((self.rooms(), self.comments), ([room], [comment]))
        self.assertEqual(self.writes(), ["POST"])
        # Another pull request whose number begins alike has a room of its own.
        self.ok(1, "opened")
        self.assertEqual(len(self.rooms()), 2)
        self.ok(1, "closed")
        self.assertEqual(self.rooms(), [room])
        self.ok(12, "closed")
        self.assertEqual(self.rooms(), [])
        before = self.writes()
        self.ok(12, "closed")
        self.assertEqual(self.writes(), before)

    def test_a_fork_gets_nothing(self):
        self.assertIsNone(self.event(12, "opened", "somebody/app"))
        self.assertEqual(self.proxy.requests, [])

    def test_a_room_whose_answer_was_lost_is_found_instead_of_made_again(self):
        loses = LosesAnswers(self.proxy.port)
        self.addCleanup(loses.close)
        self.api = loses.address
        self.ok(7, "opened")
        self.assertEqual(self.writes(), ["POST"])
        [room] = self.rooms()
        self.assertTrue(self.comments[0].endswith(f"{room} {EDITS}"), self.comments)

    def test_a_failed_call_fails_the_job_and_says_why(self):
        right = self.token
        for action, name in [("opened", "Find or create the room"), ("closed", "Remove the room")]:
            self.token = "wrong"
            ran = self.event(7, action)[name]
            self.token = right
            self.assertNotEqual(ran.returncode, 0, ran)
            self.assertIn("unauthorized", ran.stderr.lower() + ran.stdout.lower())
            self.assertEqual((self.comments, self.writes()), ([], []))

    def test_the_rules_allow_rooms_of_this_pull_request_only(self):
        self.ok(12, "opened")
        config = self.home / "run1" / "temp" / "whereby.toml"
        environment = {**self.environment, "WHEREBY_CI_TOKEN": self.token, "WHEREBY_CONFIG": str(config)}
        self.environment, own = environment, self.environment
        for arguments in [("create_room",), ("create_room", "--arg", "room_name_prefix=pr-1-"),
                          ("create_room", "--arg", "room_name_prefix=pr-13-", "--force"),
                          ("create_room", "--arg", "room_name_prefix=pr-12-", "--arg", "end_date=2099-01-01T00:00:00Z"),
                          ("delete_room", "--arg", "room_name=pr-1-a", "--force")]:
            ran = self.whereby("call", *arguments, check=False)
            self.assertEqual(ran.returncode, 4, (arguments, ran))
        self.environment = own
        self.assertEqual(self.writes(), ["POST"])

    def test_the_key_is_only_in_the_steps_that_call_whereby(self):
        text = json.dumps({**self.job, "steps": []})
        self.assertNotIn("secrets.", text)
        for step in self.job["steps"]:
            has_key = "secrets." in json.dumps(step)
            self.assertEqual(has_key, "whereby call" in step.get("run", ""), step["name"])
            self.assertNotIn("${{", step.get("run", ""))
        self.assertEqual(self.workflow["permissions"], {})


if __name__ == "__main__":
    unittest.main()
