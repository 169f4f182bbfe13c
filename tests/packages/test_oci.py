"""Tests the components as OCI artifacts: pushed to a registry, pulled, and run by wassette with the policy.

Needs the Debian package docker-registry. Run it like test_packages.py.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
import unittest
import urllib.request

import wassette
from mcp import Client, StdioServerParameters

import support
import guarded
import test_mcp

READ = "whereby_agent_read_0_1_0_list-rooms"
WRITE = "whereby_agent_write_0_1_0_delete-room"
KINDS = ["", "-reader", "-gateway", "-guarded", "-guarded-gateway"]
# The parameters of each function that the tests call. wassette wants all of them.
PARAMETERS = {
    "list-rooms": ["limit", "cursor"], "get-room": ["room-name"], "get-meeting": ["meeting-id"],
    "list-meetings": ["limit", "cursor", "from-date", "to-date", "room-name"], "get-current-user": [],
    "create-room": ["room-mode", "room-name-prefix", "start-date", "end-date", "fields"], "delete-room": ["room-name"],
}


class Registry:
    """A registry of this machine, for one test class."""

    def __init__(self, folder):
        settings = folder / "registry.yaml"
        settings.write_text(
            f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {json.dumps(str(folder / 'registry'))}}}}}\n"
            "http: {addr: '127.0.0.1:0'}\n")
        program = shutil.which("docker-registry", path=os.environ["PATH"] + ":/usr/sbin:/usr/bin")
        self.process = subprocess.Popen([program, "serve", settings], stderr=subprocess.PIPE,
                                        stdout=subprocess.DEVNULL, text=True)
        for line in self.process.stderr:
            if found := re.search(r"listening on (127\.0\.0\.1:\d+)", line):
                self.address = found[1]
                break
        else:
            raise AssertionError("docker-registry did not start")
        # It logs more than a pipe holds.
        self.reader = threading.Thread(target=self.process.stderr.read)
        self.reader.start()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stderr.close()

    def manifest(self, reference):
        name, digest = reference.split("/", 1)[1].split("@")
        request = urllib.request.Request(f"http://{self.address}/v2/{name}/manifests/{digest}", headers={
            "Accept": "application/vnd.oci.image.manifest.v1+json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)


class Artifacts(test_mcp.McpTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        support.packaged()
        cls.registry = Registry(cls.folder)
        cls.addClassCleanup(cls.registry.close)
        cls.wash = str(support.installed("wash_cli", "wash"))
        environment = {"PATH": os.environ["PATH"], "HOME": folder.name, "WASH": cls.wash}
        ran = subprocess.run(
            [support.ROOT / "host/packages/oci/push", support.DIST, support.VERSION, f"{cls.registry.address}/example",
             "--insecure"], env=environment, check=True, capture_output=True, text=True, timeout=support.PATIENCE)
        cls.references = dict(zip(KINDS, ran.stdout.splitlines(), strict=True))
        cls.pulled = {}
        for kind, reference in cls.references.items():
            cls.pulled[kind] = cls.folder / f"whereby-agent-{support.VERSION}{kind}.wasm"
            subprocess.run([cls.wash, "oci", "pull", "--insecure", reference, cls.pulled[kind]], env=environment,
                           check=True, capture_output=True, timeout=support.PATIENCE)

    def test_what_is_pulled_is_what_was_packaged(self):
        for kind, file in self.pulled.items():
            packaged = (support.DIST / file.name).read_bytes()
            self.assertEqual(file.read_bytes(), packaged)
            self.assertIn(f"/whereby-agent-component{kind}@sha256:", self.references[kind])
            manifest = self.registry.manifest(self.references[kind])
            # The artifact type of WebAssembly components.
            self.assertEqual(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json")
            [layer] = manifest["layers"]
            self.assertEqual((layer["mediaType"], layer["digest"]),
                             ("application/wasm", f"sha256:{hashlib.sha256(packaged).hexdigest()}"))
        self.assertEqual(len({it.read_bytes() for it in self.pulled.values()}), len(KINDS))

    @contextlib.asynccontextmanager
    async def wassette(self, kind, edit=lambda policy: policy, file=None, **variables):
        """wassette with a pulled component and its policy, which may be edited; or with a file in the component's place."""
        home = self.home / f"wassette{kind}"
        home.mkdir()
        if file is None:
            file = self.pulled[kind]
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "RUST_LOG": "off"}
        command = wassette.command()
        subprocess.run([*command, "component", "load", f"file://{file}"], env=environment, check=True,
                       capture_output=True, timeout=support.PATIENCE)
        name = f"whereby-agent-{support.VERSION}{kind}.policy.yaml"
        components = home / ".local/share/wassette/components"
        self.assertTrue((components / file.name).exists(), list(components.iterdir()))
        (components / name).write_text(edit((support.DIST / name).read_text()))
        variables = {"WHEREBY_ACCESS_TOKEN": self.token, "WHEREBY_API_URL": f"http://127.0.0.1:{self.proxy.port}/v1",
                     **variables}
        options = [word for item in variables.items() for word in ("--env", "=".join(item))]
        parameters = StdioServerParameters(command=command[0], env=environment, cwd=str(home), args=[
            *command[1:], "run", "--disable-builtin-tools", *options])
        async with Client(parameters, mode="legacy", read_timeout_seconds=support.PATIENCE) as client:
            yield client

    @staticmethod
    async def call(client, settled):
        """Calls list-rooms until the answer is settled: wassette answers before it has read components and policies."""
        for _ in range(1000):
            answer = await client.call_tool(READ, {"limit": 1, "cursor": None})
            text = answer.content[0].text
            if settled(text):
                return json.loads(text)
        raise AssertionError(text)

    @staticmethod
    def here(policy):
        """The policy for the API on this machine."""
        return policy.replace("api.whereby.dev", "127.0.0.1")

    async def test_a_read_goes_through_and_nothing_else_is_asked_of_the_api(self):
        async with self.wassette("", self.here) as client:
            result = await self.call(client, lambda text: '"ok"' in text)
            names = [tool.name for tool in (await client.list_tools()).tools]
        self.assertEqual(len(result["ok"]["data"]), 1)
        self.assertEqual(set(self.proxy.requests), {"GET"})
        self.assertIn(WRITE, names)

    async def test_the_reader_has_no_tool_that_writes(self):
        async with self.wassette("-reader", self.here) as client:
            await self.call(client, lambda text: '"ok"' in text)
            names = [tool.name for tool in (await client.list_tools()).tools]
            self.assertIn(READ, names)
            self.assertEqual([name for name in names if "write" in name or "create" in name or "delete" in name], [])
            before = list(self.proxy.requests)
            refused = await client.call_tool(WRITE, {"room-name": "a"})
            self.assertTrue(refused.is_error)
            self.assertIn("Tool not found", refused.content[0].text)
        self.assertEqual(self.proxy.requests, before)

    async def test_the_policies_as_they_are_let_no_request_to_another_host_through(self):
        for kind in ("", "-guarded"):
            async with self.wassette(kind) as client:
                # wassette reads the policy in the background, so one call could be answered before.
                for _ in range(50):
                    result = await self.call(client, lambda text: '"err"' in text)
                    self.assertEqual(result["err"]["tag"], "access-denied")
            self.assertEqual((self.proxy.requests, self.proxy.connections), ([], 0))

    async def invoke(self, client, function, **arguments):
        """Calls a function of a client that is settled. Returns the case of its result, the value, and the requests."""
        self.proxy.requests.clear()
        function = function.replace("_", "-")
        effect = "write" if function in ("create-room", "delete-room") else "read"
        given = {name: arguments.get(name.replace("-", "_")) for name in PARAMETERS[function]}
        answer = await client.call_tool(f"whereby_agent_{effect}_0_1_0_{function}", given)
        text = answer.content[0].text
        self.assertNotIn(self.token, text)
        # A trap is an error of the tool; an error of the WIT is a result.
        [(case, value)] = [("err", {"tag": "trap", "val": text})] if answer.is_error else json.loads(text).items()
        return case, value, list(self.proxy.requests)

    async def test_all_functions_of_the_guarded_component_work(self):
        async with self.wassette("-guarded", self.here, WHEREBY_PERMISSIONS=guarded.ALLOW) as client:
            await self.call(client, lambda text: '"ok"' in text)

            async def succeeds(function, requests, **arguments):
                case, value, sent = await self.invoke(client, function, **arguments)
                self.assertEqual((case, set(sent)), ("ok", requests), value)
                return value

            room = (await succeeds("list_rooms", {"GET"}, limit=1))["data"][0]
            self.assertEqual(await succeeds("get_room", {"GET"}, room_name=room["room-name"]), room)
            meeting = (await succeeds("list_meetings", {"GET"}, limit=1))["data"][0]
            found = await succeeds("get_meeting", {"GET"}, meeting_id=meeting["id"])
            self.assertEqual(found["id"], meeting["id"])
            self.assertTrue((await succeeds("get_current_user", {"GET"}))["authenticated"])
            made = await succeeds("create_room", {"POST"}, room_name_prefix="bot-")
            gone = await succeeds("delete_room", {"GET", "DELETE"}, room_name=made["room-name"])
            self.assertEqual(gone["meeting-id"], made["meeting-id"])

    async def test_the_guard_denies_what_its_rules_do_not_allow(self):
        for rules in ({}, {"WHEREBY_PERMISSIONS": guarded.BOTS}):
            async with self.wassette("-guarded", self.here, **rules) as client:
                room = (await self.call(client, lambda text: '"ok"' in text))["ok"]["data"][0]
                for function, arguments in [("create_room", {"room_name_prefix": "mine-"}),
                                            ("delete_room", {"room_name": room["room-name"]})]:
                    case, value, sent = await self.invoke(client, function, **arguments)
                    self.assertEqual((case, value["tag"], sent), ("err", "access-denied", []), value)
            shutil.rmtree(self.home / "wassette-guarded")

    async def test_a_hostile_middle_gets_nothing_done(self):
        other = guarded.Other(self.addCleanup)
        file = self.home / self.pulled["-guarded"].name
        guarded.export(str(file), "--component", guarded.hostile())
        async with self.wassette("-guarded", self.here, file, WHEREBY_PERMISSIONS=guarded.ALLOW) as client:
            await self.call(client, lambda text: '"ok"' in text)
            for function, arguments, succeeds, requests in guarded.attempts(other.address):
                case, value, sent = await self.invoke(client, function, **arguments)
                self.assertEqual((case == "ok", sent), (succeeds, requests), (arguments, value))
        self.assertEqual(other.connections, 0)


if __name__ == "__main__":
    unittest.main()
