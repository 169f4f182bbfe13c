"""Tests the component as an MCP server over HTTP, served by the wasmtime command line.

Needs the same as ../mcp/test_mcp.py, and wasmtime (../runtimes/program.py says where it comes from). Run it
with: python -m unittest discover tests/gateway
"""

import asyncio
import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import socket
import subprocess
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / name) for name in ("mcp", "runtimes")]
import guarded  # noqa: E402
import program  # noqa: E402
from test_mcp import CACHE, FUNCTIONS, PATIENCE, McpTest  # noqa: E402

WASMTIME = program.wasmtime()
TOKEN = "0123456789abcdef0123456789abcdef"
READS = FUNCTIONS[:5]
# The protocol with a handshake, and a client that tries the newest version first.
MODES = ["legacy", "auto"]


class Served:
    """A composed component under `wasmtime serve`."""

    def __init__(self, test, file, settings):
        variables = {"WHEREBY_API_URL": f"http://127.0.0.1:{test.proxy.port}/v1",
                     "WHEREBY_ACCESS_TOKEN": test.token, "WHEREBY_GATEWAY_TOKEN": TOKEN, **settings}
        given = [f"--env={name}={value}" for name, value in variables.items() if value is not None]
        self.process = subprocess.Popen(
            [WASMTIME, "serve", "-S", "cli", "--addr", "127.0.0.1:0", *given, file], cwd=test.home,
            env={"PATH": os.environ["PATH"], "HOME": CACHE.name, "XDG_CACHE_HOME": CACHE.name},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        test.addCleanup(test.stop, self.process)
        said = ""
        for line in self.process.stdout:
            said += line
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                return
        raise AssertionError(f"wasmtime serve did not start: {said}")

    def request(self, body=None, method="POST", path="/mcp", **headers):
        """Returns the status, the headers and the body of the response. A header that is None is omitted."""
        given = {"authorization": f"Bearer {TOKEN}", "content_type": "application/json", **headers}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            body = json.dumps(body) if isinstance(body, (dict, list)) else body
            headers = {name.replace("_", "-"): value for name, value in given.items() if value is not None}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    def call(self, method, **params):
        """Returns the response to a JSON-RPC request."""
        status, headers, body = self.request({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        assert (status, headers["content-type"], headers["content-length"]) == (
            200, "application/json", str(len(body))), (status, headers, body)
        return json.loads(body)


class GatewayTest(McpTest):
    FLAGS = []
    SETTINGS = {}

    def export(self, *flags):
        file = self.home / f"gateway{''.join(it for it in flags if it.startswith('-'))}.wasm"
        self.whereby("component", "export", "--gateway", *self.FLAGS, *flags, str(file))
        return file

    def serve(self, *flags, **settings):
        return Served(self, self.export(*flags), {**self.SETTINGS, **settings})

    @contextlib.asynccontextmanager
    async def connect(self, served, mode):
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with httpx2.AsyncClient(headers=headers, timeout=PATIENCE) as own:
            transport = streamable_http_client(f"http://127.0.0.1:{served.port}/mcp", http_client=own)
            async with Client(transport, mode=mode, read_timeout_seconds=PATIENCE) as client:
                yield client


class Calls(GatewayTest):
    async def test_every_function_is_a_tool_and_works(self):
        served = self.serve(WHEREBY_GATEWAY_ALLOW_WRITES="true")
        for mode in MODES:
            async with self.connect(served, mode) as client:
                tools = (await client.list_tools()).tools
                self.assertEqual([tool.name for tool in tools], ["whereby_" + name for name in FUNCTIONS])
                await self.reads_everything(client)
                made = self.succeeds(await client.call_tool("whereby_create_room", {
                    "room_mode": "group", "room_name_prefix": "made-",
                    "fields": ["hostRoomUrl", {"recording": {"type": "cloud", "startTrigger": "prompt"}}]}))
                self.assertTrue(made["hostRoomUrl"])
                self.succeeds(await client.call_tool("whereby_delete_room", {"room_name": made["roomName"]}))
        self.assertEqual(self.proxy.requests.count("POST"), len(MODES))
        self.assertEqual(self.proxy.requests.count("DELETE"), len(MODES))

    async def test_tools_results_and_errors_match_the_program(self):
        self.configure('[permissions]\nwrite = "allow"\n')
        served = self.serve(WHEREBY_GATEWAY_ALLOW_WRITES="true")
        async with self.client("legacy") as own, self.connect(served, "legacy") as client:
            *tools, resume = (await own.list_tools()).tools
            # The gateway doesn't ask people, so it has nothing to wait for.
            self.assertEqual(resume.name, "whereby_resume")
            self.assertEqual([tool.model_dump() for tool in (await client.list_tools()).tools],
                             [tool.model_dump() for tool in tools])
            for name, arguments in [
                ("list_rooms", {"limit": 3}),
                ("list_meetings", {"limit": 2}),
                ("get_current_user", {}),
                ("get_room", {"room_name": "no-such-room"}),
                ("get_meeting", {"meeting_id": "no-such-room:nor-session"}),
                ("delete_room", {"room_name": "no-such-room"}),
            ]:
                expected = (await own.call_tool("whereby_" + name, arguments)).model_dump()
                result = (await client.call_tool("whereby_" + name, arguments)).model_dump()
                self.assertEqual(result, expected, name)

    async def test_many_calls_run_in_parallel(self):
        served = self.serve()
        async with self.connect(served, "legacy") as client:
            calls = [client.call_tool("whereby_list_rooms", {"limit": 1}) for _ in range(50)]
            for result in await asyncio.gather(*calls):
                self.succeeds(result)

    async def test_refusals_by_whereby_have_a_kind_and_a_hint(self):
        served = self.serve(WHEREBY_ACCESS_TOKEN="no-key-of-whereby")
        async with self.connect(served, "legacy") as client:
            error = self.fails(await client.call_tool("whereby_list_rooms", {}), "unauthorized")
        self.assertEqual((error["http_status"], error["effect"]), (401, "none"))
        self.assertIn("dashboard", error["hint"])


class GuardedCalls(Calls):
    """The same calls of the gateway with the guard inside."""

    FLAGS = ["--guarded"]
    SETTINGS = {"WHEREBY_PERMISSIONS": guarded.ALLOW}


class Guarded(GatewayTest):
    FLAGS = ["--guarded"]
    SETTINGS = {"WHEREBY_GATEWAY_ALLOW_WRITES": "true"}

    async def test_the_rules_decide_about_writes_that_the_gateway_allows(self):
        served = self.serve()
        async with self.connect(served, "legacy") as client:
            room = self.succeeds(await client.call_tool("whereby_list_rooms", {}))["data"][0]
            self.proxy.requests.clear()
            for name, arguments in [("create_room", {}), ("delete_room", {"room_name": room["roomName"]})]:
                error = self.fails(await client.call_tool("whereby_" + name, arguments), "access-denied")
                self.assertEqual(error["effect"], "none")
            self.assertEqual(self.proxy.requests, [])
        served = Served(self, self.home / "gateway.wasm", {**self.SETTINGS, "WHEREBY_PERMISSIONS": guarded.BOTS})
        async with self.connect(served, "legacy") as client:
            self.fails(await client.call_tool("whereby_create_room", {"room_name_prefix": "mine-"}), "access-denied")
            self.assertEqual(self.proxy.requests, [])
            self.succeeds(await client.call_tool("whereby_create_room", {"room_name_prefix": "bot-"}))
            self.assertEqual(self.proxy.requests, ["POST"])

    async def test_a_hostile_middle_gets_nothing_done(self):
        other = guarded.Other(self.addCleanup)
        file = self.export("--component", guarded.hostile())
        served = Served(self, file, {**self.SETTINGS, "WHEREBY_PERMISSIONS": guarded.ALLOW})
        async with self.connect(served, "legacy") as client:
            for function, arguments, succeeds, requests in guarded.attempts(other.address):
                self.proxy.requests.clear()
                result = await client.call_tool("whereby_" + function, arguments)
                self.assertEqual(self.proxy.requests, requests, (arguments, result))
                self.assertNotIn(self.token, str(result))
                self.assertNotIn(TOKEN, str(result))
                self.assertEqual(not result.is_error, succeeds, (arguments, result))
        self.assertEqual(other.connections, 0)


class Denials(GatewayTest):
    def tearDown(self):
        # Nothing in this class reaches Whereby.
        self.assertEqual(self.proxy.requests, [])

    async def test_writes_are_off_unless_they_are_allowed(self):
        for settings in ({}, {"WHEREBY_GATEWAY_ALLOW_WRITES": "false"}):
            served = self.serve(**settings) if not settings else Served(self, self.home / "gateway.wasm", settings)
            async with self.connect(served, "legacy") as client:
                names = [tool.name for tool in (await client.list_tools()).tools]
                self.assertEqual(names, ["whereby_" + name for name in READS])
                for name, arguments in [("create_room", {}), ("delete_room", {"room_name": "a"})]:
                    error = self.fails(await client.call_tool("whereby_" + name, arguments), "denied")
                    self.assertIn("do not try another way", error["hint"])
                    # Only the operator of the gateway needs to know how to allow it.
                    self.assertNotIn("ALLOW_WRITES", json.dumps(error))

    async def test_the_reader_has_no_functions_that_write(self):
        file = self.export("--reader")
        found = json.loads(self.whereby("component", "inspect", str(file), "--json").stdout)
        self.assertEqual([export["name"].split("@")[0] for export in found["exports"]],
                         ["wasi:http/incoming-handler"])
        self.assertTrue(all(name.startswith("wasi:") for name in found["imports"]), found)
        self.assertNotIn(b"whereby:agent/write", file.read_bytes())
        self.assertIn(b"whereby:agent/write", self.export().read_bytes())
        served = Served(self, file, {"WHEREBY_GATEWAY_ALLOW_WRITES": "true"})
        async with self.connect(served, "legacy") as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            self.assertEqual(names, ["whereby_" + name for name in READS])
            for name in ("create_room", "delete_room"):
                with self.assertRaisesRegex(Exception, "no tool is called"):
                    await client.call_tool("whereby_" + name, {"room_name": "a"})

    def test_a_gateway_without_settings_refuses_everything(self):
        file = self.export()
        for settings, said in [
            ({"WHEREBY_GATEWAY_TOKEN": None}, "WHEREBY_GATEWAY_TOKEN is not set"),
            ({"WHEREBY_GATEWAY_TOKEN": ""}, "WHEREBY_GATEWAY_TOKEN is not set"),
            ({"WHEREBY_GATEWAY_TOKEN": TOKEN[:15]}, "WHEREBY_GATEWAY_TOKEN is shorter"),
            ({"WHEREBY_GATEWAY_ALLOW_WRITES": "yes"}, "must be true or false"),
            ({"WHEREBY_GATEWAY_ALLOWED_ORIGINS": "*"}, "WHEREBY_GATEWAY_ALLOWED_ORIGINS must be"),
        ]:
            served = Served(self, file, settings)
            for path in ("/mcp", "/"):
                for authorization in (f"Bearer {TOKEN}", f"Bearer {TOKEN[:15]}", "Bearer ", None):
                    status, _, body = served.request(CALL, path=path, authorization=authorization)
                    self.assertEqual(status, 503, settings)
                    self.assertIn(said, body.decode())

    def test_headers_are_checked(self):
        served = self.serve(WHEREBY_GATEWAY_ALLOWED_ORIGINS="https://app.example")
        for expected, request in [
            (401, {"authorization": None}),
            (401, {"authorization": "Bearer nonsense"}),
            (401, {"authorization": f"Bearer {TOKEN}0"}),
            (401, {"authorization": f"Bearer {TOKEN[:-1]}"}),
            (403, {"origin": "https://evil.example"}),
            (403, {"origin": "null"}),
            (415, {"content_type": None}),
            (415, {"content_type": "text/plain"}),
            (406, {"accept": "text/event-stream"}),
            (400, {"mcp_protocol_version": "2024-11-05"}),
            (404, {"path": "/"}),
            (404, {"path": "/mcp/"}),
            (405, {"method": "GET"}),
            (405, {"method": "DELETE"}),
            (405, {"method": "OPTIONS", "origin": "https://app.example"}),
        ]:
            status, headers, body = served.request(CALL, **request)
            self.assertEqual(status, expected, request)
            self.assertEqual(headers["content-length"], str(len(body)))
            self.assertEqual(headers.get("allow"), "POST" if expected == 405 else None)
            self.assertEqual(headers.get("www-authenticate"), "Bearer" if expected == 401 else None)
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        self.assertEqual(served.request(ping, origin="https://app.example")[0], 200)

    def test_long_bodies_are_refused_unread(self):
        served = self.serve()
        # Only the head is sent, so a response that waited for the body would never arrive.
        with socket.create_connection(("127.0.0.1", served.port), PATIENCE) as connection:
            connection.sendall((f"POST /mcp HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\n"
                                "content-type: application/json\r\ncontent-length: 131073\r\n\r\n").encode())
            self.assertIn(b" 413 ", connection.recv(1000).split(b"\r\n")[0])
        # Without a Content-Length, reading stops at the limit.
        with socket.create_connection(("127.0.0.1", served.port), PATIENCE) as connection:
            connection.sendall((f"POST /mcp HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\n"
                                "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n").encode())
            chunk = b"%x\r\n%s\r\n" % (0x8000, b" " * 0x8000)
            for _ in range(5):
                connection.sendall(chunk)
            self.assertIn(b" 413 ", connection.recv(1000).split(b"\r\n")[0])
        # The limits are 128 KiB for the body and 64 KiB for the arguments.
        long = {"name": "whereby_list_rooms", "arguments": {"cursor": "x" * (64 * 1024)}}
        error = served.call("tools/call", **long)["result"]["_meta"]["whereby/error"]
        self.assertEqual(error["kind"], "invalid-argument")
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"})
        self.assertEqual(served.request(body.ljust(128 * 1024))[0], 200)
        self.assertEqual(served.request(body.ljust(128 * 1024 + 1))[0], 413)

    def test_malformed_messages_are_refused_without_a_trap(self):
        served = self.serve(WHEREBY_GATEWAY_ALLOW_WRITES="true")
        for body, code in [
            ("", -32700), ("{", -32700), ("\udcff".encode("utf-8", "surrogateescape"), -32700),
            ("[" * 131072, -32700), ('{"a":' * 20000, -32700),
            ("[]", -32600), ([CALL], -32600), ("1", -32600), ("{}", -32600),
            ({**CALL, "id": None}, -32600), ({**CALL, "jsonrpc": "1.0"}, -32600),
        ]:
            status, _, answer = served.request(body)
            self.assertEqual((status, json.loads(answer)["error"]["code"]), (400, code), str(body)[:80])
        self.assertEqual(served.request({"jsonrpc": "2.0", "method": "notifications/initialized"})[::2], (202, b""))
        for method, params, code in [
            ("resources/list", {}, -32601),
            ("tools/call", {}, -32602),
            ("tools/call", {"name": "whereby_rooms"}, -32602),
            ("tools/call", {"name": "whereby_list_rooms", "arguments": 5}, -32602),
            ("tools/list", {"cursor": "x"}, -32602),
        ]:
            self.assertEqual(served.call(method, **params)["error"]["code"], code)
        chance = random.Random(20261124)
        whole = json.dumps({**CALL, "params": {"name": "whereby_create_room", "arguments": {
            "fields": [{"recording": {"type": "cloud"}}, "isLocked"], "room_mode": "big"}}}).encode()
        for _ in range(200):
            broken = bytearray(whole)
            for _ in range(chance.randrange(1, 4)):
                broken[chance.randrange(len(broken))] = chance.randrange(256)
            self.assertIn(served.request(bytes(broken))[0], (200, 202, 400), bytes(broken))
        for name, arguments in [
            ("list_rooms", {"limit": 1000}), ("list_rooms", {"limit": -1}), ("get_room", {}),
            ("get_room", {"room_name": 5}), ("get_room", {"room_name": "a", "and": "b"}),
            ("create_room", {"fields": ["nonsense"]}), ("create_room", {"fields": [{}]}),
            ("create_room", {"room_mode": "big"}),
            ("create_room", {"fields": json.loads("[" * 120 + "]" * 120)}),
            ("get_current_user", {str(number): {} for number in range(5000)}),
        ]:
            result = served.call("tools/call", name="whereby_" + name, arguments=arguments)["result"]
            self.assertEqual(result["_meta"]["whereby/error"]["kind"], "invalid-argument", result)


CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "whereby_list_rooms", "arguments": {}}}
