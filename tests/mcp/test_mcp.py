"""Tests the program with an independent client: the official Python SDK of MCP.

Needs a built program (`cargo build -p whereby-agent`, or its path in WHEREBY_BIN) and the packages of
requirements.txt beside this file. Run it with: python -m unittest discover tests/mcp
"""

import asyncio
import contextlib
import fcntl
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "runtimes"))
import program  # noqa: E402
from proxy import Proxy  # noqa: E402

PROGRAM = program.WHEREBY
FUNCTIONS = [
    "list_rooms", "get_room", "list_meetings", "get_meeting", "get_current_user", "create_room", "delete_room",
]
# The protocol with a handshake, and the newest version, which has none.
MODES = ["legacy", "2026-07-28"]
PATIENCE = 60

CACHE = tempfile.TemporaryDirectory()


class McpTest(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.home = pathlib.Path(home.name)
        (self.home / "whereby").mkdir()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": home.name,
            "XDG_CONFIG_HOME": home.name,
            "XDG_STATE_HOME": home.name + "/state",
            "XDG_CACHE_HOME": CACHE.name,
        }
        found = program.simulator(self.environment, home.name, self.addCleanup)
        self.token = found["WHEREBY_ACCESS_TOKEN"]
        port = int(found["WHEREBY_API_URL"].split(":")[2].split("/")[0])
        self.proxy = Proxy(port)
        self.addCleanup(self.proxy.close)
        self.configure()

    stop = staticmethod(program.stop)

    def configure(self, rules="", accounts=("work",)):
        """Replaces the configuration atomically, as editors do."""
        text = 'default_account = "work"\n' + rules
        for name in accounts:
            text += (f'\n[accounts.{name}]\naccess_token = "{self.token}"\n'
                     f'api_url = "http://127.0.0.1:{self.proxy.port}/v1"\n')
        new = self.home / "whereby" / "new.toml"
        new.write_text(text)
        new.chmod(0o600)
        new.rename(self.home / "whereby" / "config.toml")

    def whereby(self, *arguments, check=True):
        ran = subprocess.run([PROGRAM, *arguments], env=self.environment, cwd=self.home, timeout=PATIENCE,
                             capture_output=True, text=True, check=False)
        if check:
            self.assertEqual(ran.returncode, 0, ran)
        return ran

    def audit(self):
        """The calls in the audit log, without the decisions of people."""
        rows = json.loads(self.whereby("audit", "--json").stdout)["audit"]
        return [row for row in rows if row["decision"] is None]

    async def functions(self, client):
        """The tools that are functions; one more waits for a person's decision."""
        tools = (await client.list_tools()).tools
        return [tool for tool in tools if tool.name != "whereby_resume"]

    def client(self, mode, answer=None, arguments=(), **options):
        """A client over standard input and output. `answer` is the user's answer to questions."""
        self.asked = []

        async def elicit(_, params):
            self.asked.append(params.message)
            return answer

        parameters = StdioServerParameters(
            command=PROGRAM, args=["mcp", *arguments], env=self.environment, cwd=str(self.home))
        if answer is not None:
            options["elicitation_callback"] = elicit
        return Client(parameters, mode=mode, read_timeout_seconds=PATIENCE, **options)

    async def reads_everything(self, client):
        """Calls every function that reads, with results of the earlier ones."""
        # The SDK checks structured results against the tools' schemas.
        page = self.succeeds(await client.call_tool("whereby_list_rooms", {"limit": 2}))
        self.assertEqual(len(page["data"]), 2)
        name = page["data"][0]["roomName"]
        room = self.succeeds(await client.call_tool("whereby_get_room", {"room_name": name}))
        self.assertEqual(room["roomName"], name)
        meetings = self.succeeds(await client.call_tool("whereby_list_meetings", {"limit": 1}))
        meeting = await client.call_tool(
            "whereby_get_meeting", {"meeting_id": meetings["data"][0]["id"]})
        self.assertIn("participants", self.succeeds(meeting))
        self.succeeds(await client.call_tool("whereby_get_current_user", {}))

    def succeeds(self, result):
        self.assertFalse(result.is_error, result)
        return result.structured_content

    def fails(self, result, kind):
        self.assertTrue(result.is_error, result)
        error = result.meta["whereby/error"]
        self.assertEqual(error["kind"], kind, error)
        self.assertTrue(result.content[0].text.startswith(kind + ": "), result)
        return error


YES = ElicitResult(action="accept", content={"approve": True})


class Calls(McpTest):
    async def test_every_function_is_a_tool_and_works(self):
        self.configure('[permissions]\nwrite = "allow"\n')
        for mode in MODES:
            async with self.client(mode) as client:
                # The first request.
                tools = await self.functions(client)
                self.assertEqual([tool.name for tool in tools], ["whereby_" + name for name in FUNCTIONS])
                for tool in tools:
                    hints = tool.annotations
                    reads = tool.name not in ("whereby_create_room", "whereby_delete_room")
                    self.assertEqual(hints.read_only_hint, reads)
                    self.assertEqual(hints.destructive_hint, tool.name == "whereby_delete_room")
                    self.assertEqual(hints.idempotent_hint, tool.name != "whereby_create_room")
                    self.assertTrue(hints.open_world_hint)
                    self.assertTrue(tool.description and tool.output_schema)
                await self.reads_everything(client)
                made = await client.call_tool("whereby_create_room", {"room_name_prefix": "made-"})
                name = self.succeeds(made)["roomName"]
                self.succeeds(await client.call_tool("whereby_delete_room", {"room_name": name}))
                resources = (await client.list_resources()).resources
                self.assertEqual(len(resources), 1 + len(FUNCTIONS))
                for resource in resources:
                    contents = (await client.read_resource(resource.uri)).contents
                    self.assertTrue(contents[0].text.startswith("# "))

    async def test_invalid_and_denied_calls_are_errors_and_send_nothing(self):
        self.configure('[permissions]\nwrite = "deny"\n')
        for mode in MODES:
            async with self.client(mode) as client:
                names = [tool.name for tool in (await client.list_tools()).tools]
                self.assertNotIn("whereby_create_room", names)
                for tool, arguments, kind in [
                    ("whereby_list_rooms", {"limit": 1000}, "invalid-argument"),
                    ("whereby_get_room", {}, "invalid-argument"),
                    ("whereby_get_room", {"room_name": 5}, "invalid-argument"),
                    ("whereby_get_room", {"room_name": "a", "and": "b"}, "invalid-argument"),
                    ("whereby_delete_room", {"room_name": "a"}, "denied"),
                    ("whereby_create_room", {}, "denied"),
                ]:
                    self.fails(await client.call_tool(tool, arguments), kind)
                with self.assertRaisesRegex(Exception, "unknown tool"):
                    await client.call_tool("whereby_rooms", {})
        self.assertEqual(self.proxy.requests, [])

    async def test_an_account_is_chosen_among_the_enabled_ones(self):
        self.configure('', ["work", "second"])
        for mode in MODES:
            async with self.client(mode) as client:
                tool = (await client.list_tools()).tools[0]
                self.assertEqual(tool.input_schema["properties"]["account"]["enum"], ["second", "work"])
                self.succeeds(await client.call_tool("whereby_list_rooms", {"account": "second"}))
        self.assertEqual({row["account"] for row in self.audit()}, {"second"})

    async def test_the_default_account_is_fixed_when_the_server_starts(self):
        self.configure('', ["work", "second"])
        for mode in MODES:
            async with self.client(mode, arguments=["--account", "second"]) as client:
                tool = (await client.list_tools()).tools[0]
                self.assertEqual(tool.input_schema["properties"]["account"]["default"], "second")
                self.succeeds(await client.call_tool("whereby_list_rooms", {}))
                # Even after the settings were reloaded.
                self.configure('[permissions]\nwrite = "deny"\n', ["work", "second"])
                self.succeeds(await client.call_tool("whereby_list_rooms", {}))
        self.assertEqual({row["account"] for row in self.audit()}, {"second"})
        ran = self.whereby("mcp", "--account", "nobody", check=False)
        self.assertEqual(ran.returncode, 2, ran)
        self.assertIn("no account is called `nobody`", ran.stderr)

    async def test_many_parallel_calls_share_few_connections(self):
        for mode in MODES:
            async with self.client(mode) as client:
                calls = [client.call_tool("whereby_list_rooms", {"limit": 1}) for _ in range(200)]
                for result in await asyncio.gather(*calls):
                    self.succeeds(result)
        self.assertEqual(len(self.proxy.requests), 400)
        self.assertLessEqual(self.proxy.connections, 100)

    async def test_a_cancelled_call_stops_and_the_server_continues(self):
        for mode in MODES:
            held = self.proxy.hold()
            async with self.client(mode) as client:
                call = asyncio.create_task(client.call_tool("whereby_list_rooms", {}))
                self.assertTrue(await asyncio.to_thread(self.proxy.arrived.wait, PATIENCE))
                call.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await call
                self.proxy.held = None
                self.succeeds(await client.call_tool("whereby_get_current_user", {}))
            held.set()
        kinds = [row["outcome"]["kind"] for row in self.audit() if row["function"] == "list_rooms"]
        self.assertEqual(kinds, ["cancelled"] * len(MODES))

    async def test_a_changed_rule_applies_immediately_and_the_client_is_notified(self):
        changed = asyncio.Event()

        async def told(message):
            if "list_changed" in getattr(message, "method", ""):
                changed.set()

        async with self.client("legacy", message_handler=told) as client:
            self.assertEqual(len(await self.functions(client)), len(FUNCTIONS))
            self.configure('[permissions]\nwrite = "deny"\n')
            self.fails(await client.call_tool("whereby_create_room", {}), "denied")
            await asyncio.wait_for(changed.wait(), PATIENCE)
            self.assertEqual(len(await self.functions(client)), 5)
        self.assertEqual(self.proxy.requests, [])

    async def test_progress_is_reported(self):
        for mode in MODES:
            told = []

            async def progress(count, _total, message, told=told):
                told.append((count, message))

            async with self.client(mode) as client:
                self.succeeds(await client.call_tool(
                    "whereby_list_rooms", {}, progress_callback=progress))
            self.assertEqual(told, [(1.0, "GET /meetings")])


class Approvals(McpTest):
    CALL = ("whereby_create_room", {"room_name_prefix": "asked-"})

    async def test_a_user_approves_exactly_the_shown_call(self):
        for mode in MODES:
            async with self.client(mode, YES) as client:
                await client.list_tools()
                made = self.succeeds(await client.call_tool(*self.CALL))
                delete = ("whereby_delete_room", {"room_name": made["roomName"]})
                self.succeeds(await client.call_tool(*delete))
            self.assertEqual(len(self.asked), 2)
            for part in ("`work`", "create_room", '"room_name_prefix": "asked-"'):
                self.assertIn(part, self.asked[0])
            self.assertIn("deletes", self.asked[1])
            self.assertIn(made["roomName"], self.asked[1])
        self.assertEqual({row["approved_by"] for row in self.audit() if row["outcome"]["success"]}, {"elicitation"})

    async def test_any_other_answer_does_not_make_the_call(self):
        for mode in MODES:
            for number, (answer, kind) in enumerate([
                (ElicitResult(action="decline"), "approval-required"),
                (ElicitResult(action="accept", content={"approve": False}), "denied"),
                (ElicitResult(action="cancel"), "approval-required"),
                (None, "approval-required"),
            ]):
                async with self.client(mode, answer) as client:
                    await client.list_tools()
                    call = ("whereby_create_room", {"room_name_prefix": f"n{number}-{mode[:4]}-"})
                    self.fails(await client.call_tool(*call), kind)
                self.assertEqual(len(self.asked), 0 if answer is None else 1)
        self.configure('[permissions]\nelicitation = "deny"\n')
        for mode in MODES:
            async with self.client(mode, YES) as client:
                await client.list_tools()
                self.fails(await client.call_tool(*self.CALL), "approval-required")
            self.assertEqual(self.asked, [])
        self.assertEqual(self.proxy.requests, [])

    async def test_an_approval_from_a_terminal_admits_the_call_once(self):
        for mode in MODES:
            async with self.client(mode) as client:
                await client.list_tools()
                error = self.fails(await client.call_tool(*self.CALL), "approval-required")
                before = len(self.proxy.requests)
                self.whereby("approvals", "approve", error["approval_id"])
                other = await client.call_tool("whereby_create_room", {"room_name_prefix": "other-"})
                self.fails(other, "approval-required")
                self.assertEqual(len(self.proxy.requests), before)
                self.succeeds(await client.call_tool(*self.CALL))
                again = self.fails(await client.call_tool(*self.CALL), "approval-required")
                self.assertNotEqual(again["approval_id"], error["approval_id"])
                self.assertEqual(len(self.proxy.requests), before + 1)

    async def test_one_of_several_racing_processes_wins(self):
        call = ["call", "create_room", '{"room_name_prefix": "race-"}', "--json"]
        stored = json.loads(self.whereby(*call, check=False).stdout)
        self.whereby("approvals", "approve", stored["meta"]["approval_id"])
        racers = [
            subprocess.Popen([PROGRAM, *call], env=self.environment, cwd=self.home,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            for _ in range(16)
        ]
        exits = []
        for racer in racers:
            racer.communicate(timeout=PATIENCE)
            exits.append(racer.returncode)
        self.assertEqual(sorted(exits), [0] + [5] * 15)
        self.assertEqual(self.proxy.requests, ["POST"])

    async def test_a_killed_server_leaves_a_row_for_its_call(self):
        self.configure('[permissions]\nwrite = "ask"\n')
        call = {"name": self.CALL[0], "arguments": self.CALL[1]}
        server = subprocess.Popen([PROGRAM, "mcp"], env=self.environment, cwd=self.home,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.stop, server)

        def send(message):
            server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
            server.stdin.flush()

        send({"id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}})
        server.stdout.readline()
        send({"method": "notifications/initialized"})
        send({"id": 2, "method": "tools/call", "params": call})
        result = json.loads(server.stdout.readline())["result"]
        approval = result["_meta"]["whereby/error"]["approval_id"]
        self.whereby("approvals", "approve", approval)
        held = self.proxy.hold()
        send({"id": 3, "method": "tools/call", "params": call})
        self.assertTrue(await asyncio.to_thread(self.proxy.arrived.wait, PATIENCE))
        server.send_signal(signal.SIGKILL)
        server.wait(PATIENCE)
        self.proxy.held = None
        held.set()
        row = self.audit()[-1]
        self.assertEqual((row["function"], row["approval_id"]), ("create_room", approval))
        self.assertIsNone(row["outcome"])
        again = self.whereby("call", "create_room", json.dumps(self.CALL[1]), "--json", check=False)
        self.assertEqual(again.returncode, 5, again)
        self.assertEqual(self.proxy.requests, ["POST"])


class Ends(McpTest):
    BEGIN = [
        {"id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "raw", "version": "1"}}},
        {"method": "notifications/initialized"},
    ]

    def deletion(self):
        """A call that deletes an existing room."""
        self.configure('[permissions]\nwrite = "allow"\n')
        made = json.loads(self.whereby("call", "create_room", "--json").stdout)["data"]
        self.proxy.requests.clear()
        return {"id": 2, "method": "tools/call", "params": {
            "name": "whereby_delete_room", "arguments": {"room_name": made["roomName"]}}}

    @staticmethod
    def lines(messages):
        return "".join(json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in messages)

    async def in_a_call(self):
        """A server in the middle of a call, and the held-back request."""
        messages = self.lines([*self.BEGIN, self.deletion()])
        server = subprocess.Popen([PROGRAM, "mcp"], env=self.environment, cwd=self.home,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.stop, server)
        held = self.proxy.hold()
        server.stdin.write(messages)
        server.stdin.flush()
        self.assertTrue(await asyncio.to_thread(self.proxy.arrived.wait, PATIENCE))
        self.proxy.held = None
        return server, held

    async def test_calls_before_the_end_of_input_are_completed(self):
        server, held = await self.in_a_call()
        server.stdin.close()
        self.assertEqual(json.loads(server.stdout.readline())["id"], 1)
        held.set()
        answer = json.loads(await asyncio.to_thread(server.stdout.readline))
        self.assertEqual((answer["id"], answer["result"]["isError"]), (2, False), answer)
        self.assertEqual(await asyncio.to_thread(server.wait, PATIENCE), 0)
        self.assertEqual(server.stdout.read(), "")
        self.assertEqual(self.proxy.requests, ["GET", "DELETE"])
        self.assertEqual(self.audit()[-1]["outcome"]["effect"], "done")

    async def test_a_disconnected_client_stops_its_calls(self):
        for closes_input in (False, True):
            server, held = await self.in_a_call()
            # The server notices although nothing is written meanwhile.
            server.stdout.close()
            if closes_input:
                server.stdin.close()
            self.assertEqual(await asyncio.to_thread(server.wait, PATIENCE), 0)
            held.set()
            self.assertEqual(self.proxy.requests, ["GET"])
            outcome = self.audit()[-1]["outcome"]
            self.assertEqual((outcome["kind"], outcome["effect"]), ("cancelled", "none"))

    def test_a_script_can_write_all_messages_at_once(self):
        text = self.lines([*self.BEGIN, self.deletion()]).rstrip("\n")
        ran = subprocess.run([PROGRAM, "mcp"], env=self.environment, cwd=self.home, input=text,
                             timeout=PATIENCE, capture_output=True, text=True, check=True)
        answers = [json.loads(line) for line in ran.stdout.splitlines()]
        self.assertEqual([answer["id"] for answer in answers], [1, 2])
        self.assertEqual(answers[1]["result"]["isError"], False, answers)

    def test_the_flags_of_shared_streams_do_not_change(self):
        for kill in (False, True):
            for kind in ("pipes", "sockets"):
                if kind == "pipes":
                    (stdin, write), (read, stdout) = os.pipe(), os.pipe()
                    ends = [stdin, write, read, stdout]
                else:
                    sockets = [*socket.socketpair(), *socket.socketpair()]
                    write, stdin, read, stdout = ends = [end.detach() for end in sockets]
                for end in ends:
                    self.addCleanup(os.close, end)
                before = [fcntl.fcntl(end, fcntl.F_GETFL) for end in (stdin, stdout)]
                server = subprocess.Popen([PROGRAM, "mcp"], env=self.environment, cwd=self.home,
                                          stdin=stdin, stdout=stdout)
                self.addCleanup(self.stop, server)
                # Small and large messages, in both directions.
                reads = [{"id": number, "method": "tools/list"} for number in range(2, 30)]
                os.write(write, self.lines([*self.BEGIN, *reads]).encode())
                output = os.fdopen(os.dup(read), encoding="utf-8")
                answers = {json.loads(output.readline())["id"] for _ in range(1 + len(reads))}
                self.assertEqual(answers, set(range(1, 30)))
                flags = [fcntl.fcntl(end, fcntl.F_GETFL) for end in (stdin, stdout)]
                self.assertEqual(flags, before, kind)
                if kill:
                    server.kill()
                else:
                    server.terminate()
                server.wait(PATIENCE)
                output.close()
                flags = [fcntl.fcntl(end, fcntl.F_GETFL) for end in (stdin, stdout)]
                self.assertEqual(flags, before, kind)


class Http(McpTest):
    TOKEN = "0123456789abcdef0123456789abcdef"

    def listen(self):
        server = subprocess.Popen(
            [PROGRAM, "mcp", "--listen", "127.0.0.1:0", "--json"], cwd=self.home,
            env={**self.environment, "WHEREBY_MCP_TOKEN": self.TOKEN}, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.stop, server)
        return server, json.loads(server.stdout.readline())["mcp"]["url"]

    async def test_clients_work_in_parallel_and_need_the_token(self):
        server, url = self.listen()
        begin = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        async with httpx2.AsyncClient() as http_client:
            for headers, status in [
                ({}, 401),
                ({"authorization": "Bearer nonsense"}, 401),
                ({"authorization": "Bearer " + self.TOKEN, "origin": "https://evil.example"}, 403),
                ({"authorization": "Bearer " + self.TOKEN, "host": "evil.example"}, 403),
            ]:
                accept = {"accept": "application/json, text/event-stream"}
                answer = await http_client.post(url, json=begin, headers={**accept, **headers})
                self.assertEqual(answer.status_code, status, headers)
        self.asked = []

        async def elicit(_, params):
            self.asked.append(params.message)
            return YES

        headers = {"authorization": "Bearer " + self.TOKEN}
        async with contextlib.AsyncExitStack() as stack:
            clients = []
            for mode in MODES:
                own = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=PATIENCE))
                transport = streamable_http_client(url, http_client=own)
                clients.append(await stack.enter_async_context(
                    Client(transport, mode=mode, elicitation_callback=elicit)))
            for client in clients:
                self.assertEqual(len(await self.functions(client)), len(FUNCTIONS))
            results = await asyncio.gather(*(
                client.call_tool("whereby_list_rooms", {"limit": 1}) for client in clients * 5))
            for result in results:
                self.succeeds(result)
            for client in clients:
                self.succeeds(await client.call_tool("whereby_create_room", {}))
        self.assertEqual(len(self.asked), len(MODES))
        server.terminate()
        self.assertEqual(server.wait(PATIENCE), 0)


if __name__ == "__main__":
    unittest.main()
