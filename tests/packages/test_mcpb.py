"""Tests the bundle for Claude Desktop: unpacked by Anthropic's tool, and started as its manifest says.

Run it like test_packages.py.
"""

import json
import pathlib
import subprocess
import tempfile

from mcp import Client, StdioServerParameters
from mcp_types import ElicitResult

import support
import test_mcp

TOOLS = support.ROOT / "target" / "tools" / "mcpb"
# The function with which clients read a manifest.
CONFIGURE = """
const { getMcpConfigForManifest } = require("@anthropic-ai/mcpb");
const options = JSON.parse(require("fs").readFileSync(0));
getMcpConfigForManifest({ ...options, systemDirs: {}, pathSeparator: "/" }).then((found) =>
  console.log(JSON.stringify(found ?? null)));
"""


class Bundle(test_mcp.McpTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        # A folder with a space, as on macOS.
        cls.folder = pathlib.Path(folder.name, "Claude Extensions", "whereby")
        bundle = support.packaged() / f"whereby-agent-{support.VERSION}-{support.TARGET}.mcpb"
        subprocess.run([TOOLS / "node_modules/.bin/mcpb", "unpack", bundle, cls.folder], check=True,
                       capture_output=True)
        cls.manifest = json.loads((cls.folder / "manifest.json").read_text())

    def setUp(self):
        super().setUp()
        # A person who installs a bundle has no configuration.
        (self.home / "whereby" / "config.toml").unlink()

    def configured(self, **settings):
        """Returns what a client starts with these settings; None if it must not start anything."""
        ran = subprocess.run(
            ["node", "-e", CONFIGURE], cwd=TOOLS, text=True, check=True, capture_output=True,
            input=json.dumps({"manifest": self.manifest, "extensionPath": str(self.folder), "userConfig": settings}))
        return json.loads(ran.stdout)

    def whereby(self, *arguments, stdin=None, **options):
        """Runs the program in a terminal of the person."""
        if stdin is None:
            return super().whereby(*arguments, **options)
        ran = subprocess.run([test_mcp.PROGRAM, *arguments], env=self.environment, cwd=self.home, input=stdin, text=True,
                             timeout=support.PATIENCE, capture_output=True, check=False)
        self.assertEqual(ran.returncode, 0, ran)
        return ran

    def connect(self, answer=None, **settings):
        found = self.configured(api_key=self.token, **settings)
        # The key is in the environment and nowhere else.
        self.assertNotIn(self.token, json.dumps([found["command"], found["args"]]))
        api = {"WHEREBY_API_URL": f"http://127.0.0.1:{self.proxy.port}/v1"}
        self.asked = []

        async def elicit(_, params):
            self.asked.append(params.message)
            return answer

        parameters = StdioServerParameters(command=found["command"], args=found["args"], cwd="/",
                                           env={**self.environment, **api, **found["env"]})
        options = {"elicitation_callback": elicit} if answer else {}
        return Client(parameters, mode="legacy", read_timeout_seconds=support.PATIENCE, **options)

    async def test_a_client_starts_it_and_gets_the_tools_that_the_manifest_lists(self):
        async with self.connect() as client:
            tools = (await client.list_tools()).tools
            await self.reads_everything(client)
        listed = {it["name"]: it["description"] for it in self.manifest["tools"]}
        self.assertEqual(list(listed), [it.name for it in tools])
        for tool in tools:
            # Its first sentence.
            self.assertTrue(tool.description.startswith(listed[tool.name]), listed[tool.name])
            self.assertRegex(listed[tool.name], r"^[A-Z][^.]+\.$")
        self.assertEqual(self.manifest["version"], support.VERSION)
        self.assertEqual(self.manifest["repository"]["url"], support.CARGO["repository"])

    async def test_a_write_is_asked_for_in_the_client(self):
        async with self.connect(ElicitResult(action="accept", content={"approve": True})) as client:
            result = await client.call_tool("whereby_create_room", {"room_name_prefix": "bundle-"})
        self.assertEqual(len(self.asked), 1)
        self.assertFalse(result.is_error, result)
        self.assertEqual(self.proxy.requests, ["POST"])

    async def test_a_client_that_cannot_ask_leaves_the_write_for_the_inbox(self):
        # As the description says: the person stores the key once, so that the inbox knows the account, too.
        self.whereby("configure", "--set", f"api_url=http://127.0.0.1:{self.proxy.port}/v1", "--token-stdin",
                     stdin=self.token)
        async with self.connect() as client:
            result = await client.call_tool("whereby_create_room", {})
            self.assertEqual(result.meta["whereby/error"]["kind"], "approval-required")
            self.assertEqual(self.proxy.requests, [])
            [waiting] = json.loads(self.whereby("approvals", "list", "--json").stdout)["approvals"]
            self.assertEqual((waiting["function"], waiting["state"]), ("create_room", "pending"))
            self.whereby("approvals", "approve", waiting["id"])
            result = await client.call_tool("whereby_resume", {"approval_id": waiting["id"]})
        self.assertFalse(result.is_error, result)
        self.assertEqual(self.proxy.requests, ["POST"])

    async def test_without_a_stored_key_a_write_waits_and_nothing_is_sent(self):
        async with self.connect() as client:
            result = await client.call_tool("whereby_create_room", {})
        self.assertEqual(result.meta["whereby/error"]["kind"], "approval-required")
        [waiting] = json.loads(self.whereby("approvals", "list", "--json").stdout)["approvals"]
        self.assertEqual((waiting["function"], waiting["state"]), ("create_room", "pending"))
        self.assertEqual(self.proxy.requests, [])

    async def test_the_rules_of_a_configuration_file_apply(self):
        rules = self.home / "rules.toml"
        rules.write_text('[permissions]\nwrite = "allow"\n[permissions.functions]\ndelete_room = "deny"\n')
        async with self.connect(config_file=str(rules)) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            self.assertNotIn("whereby_delete_room", names)
            self.assertFalse((await client.call_tool("whereby_create_room", {})).is_error)
        self.assertEqual(self.proxy.requests, ["POST"])

    async def test_settings_without_a_value_are_not_set(self):
        # Nothing starts without a key.
        self.assertIsNone(self.configured())
        self.assertIsNone(self.configured(api_key=""))
        found = self.configured(api_key="key")
        self.assertEqual(found["env"], {"WHEREBY_ACCESS_TOKEN": "key", "WHEREBY_CONFIG": ""})
        self.assertEqual(found["args"], ["mcp"])
        self.assertEqual(found["command"], str(self.folder / "bin" / "whereby"))

    async def test_a_client_that_leaves_the_placeholders_gets_an_error_and_nothing_is_sent(self):
        env = {name: value for name, value in self.manifest["server"]["mcp_config"]["env"].items()
               if name != "WHEREBY_ACCESS_TOKEN"}
        ran = subprocess.run([self.folder / "bin" / "whereby", "call", "list_rooms", "--json"], capture_output=True,
                             text=True, check=False, cwd=self.home, env={
                                 **self.environment, **env, "WHEREBY_ACCESS_TOKEN": self.token,
                                 "WHEREBY_API_URL": f"http://127.0.0.1:{self.proxy.port}/v1"})
        self.assertEqual(ran.returncode, 3, ran)
        self.assertEqual(self.proxy.requests, [])

    async def test_the_key_is_the_one_secret(self):
        settings = self.manifest["user_config"]
        self.assertEqual([name for name, it in settings.items() if it.get("sensitive")], ["api_key"])
        self.assertTrue(settings["api_key"]["required"])
        self.assertEqual((settings["config_file"]["required"], settings["config_file"]["default"]), (False, ""))
        self.assertEqual((self.folder / "bin" / "whereby").stat().st_mode & 0o777, 0o755)


if __name__ == "__main__":
    test_mcp.unittest.main()
