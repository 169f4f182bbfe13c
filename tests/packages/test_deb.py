"""Installs the Debian package as a user would, on a new Debian that systemd has started, and uses it.

Needs root, the package in target/dist (`host/package deb`), and from Debian's packages: dpkg-dev, lintian,
mmdebstrap, systemd-container. Run it with: python -m unittest discover tests/packages
"""

import contextlib
import filecmp
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import unittest

from support import PATIENCE, ROOT, rebuild, run

STATE = "/var/lib/whereby"


def package():
    found = list((ROOT / "target" / "dist").glob("*.deb"))
    if len(found) != 1:
        raise AssertionError(f"target/dist has {len(found)} packages; run: host/package deb")
    return found[0]


def debian():
    """Returns the root of a minimal system of this machine's release, made once and never changed."""
    release = re.search(r"^VERSION_CODENAME=(.*)$", pathlib.Path("/etc/os-release").read_text(), re.M)[1]
    root = ROOT / "target" / f"system-{release}"
    if not root.exists():
        making = root.with_suffix(".new")
        shutil.rmtree(making, ignore_errors=True)
        run("mmdebstrap", "--variant=minbase", "--include=bash-completion,man-db,systemd",
            "--dpkgopt=force-unsafe-io", release, str(making))
        making.rename(root)
    return root


class System:
    """A running system in a container. Its files are back as they were once it stops."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        path = os.path.join(self.folder.name, "ready")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(path)
            ready.settimeout(PATIENCE)
            self.process = subprocess.Popen(
                ["systemd-nspawn", "--quiet", f"--directory={debian()}", "--volatile=overlay",
                 "--private-network", "--register=no", "--keep-unit", "--console=pipe", "--notify-ready=yes",
                 f"--bind-ro={package()}:/tmp/whereby.deb", "--boot"],
                env={**os.environ, "NOTIFY_SOCKET": path}, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            try:
                while b"READY=1" not in ready.recv(4096).split():
                    pass
            except TimeoutError:
                self.process.kill()
                raise AssertionError(f"the system did not start: {self.process.communicate()}") from None
        process = self.process.pid
        self.leader = pathlib.Path(f"/proc/{process}/task/{process}/children").read_text().split()[0]

    def stop(self):
        self.process.terminate()
        self.process.communicate(timeout=PATIENCE)
        self.folder.cleanup()

    def command(self, *command, user="root"):
        # PATH has the folders of system programs, as root's has. Commands begin where those of the guide do.
        change = [] if user == "root" else ["runuser", "-u", user, "--"]
        return ["nsenter", "-t", self.leader, "-m", "-u", "-i", "-p", "-n", "-C", "--root", "--wd", "env", "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive",
                *change, *command]

    def run(self, *command, user="root", **options):
        return run(*self.command(*command, user=user), **options)

    def shell(self, script, **options):
        return self.run("sh", "-euc", script, **options)

    def attempt(self, *command, user="root", **options):
        return subprocess.run(self.command(*command, user=user), capture_output=True, text=True,
                              timeout=PATIENCE, check=False, **options)


# It may be early: systemd does not wait until the service listens. The alarm ends it.
CLIENT = """
import contextlib, http.client, json, signal, sys
signal.alarm(60)
port, path, headers, body = json.load(sys.stdin)
connection = http.client.HTTPConnection("127.0.0.1", port)
while connection.sock is None:
    with contextlib.suppress(ConnectionRefusedError):
        connection.connect()
connection.request("POST" if body else "GET", path, body and json.dumps(body), headers)
response = connection.getresponse()
print(json.dumps([response.status, dict(response.headers), response.read().decode()]))
"""


class Installed(unittest.TestCase):
    """Each test has a system of its own."""

    def setUp(self):
        self.system = System()
        self.addCleanup(self.system.stop)
        self.run_ = self.system.run
        self.install()

    def install(self, *options):
        self.system.run("apt-get", "install", "--yes", *options, "/tmp/whereby.deb")

    def simulator(self):
        """Starts a simulator in the system, and returns its address and its key."""
        process = subprocess.Popen(self.system.command("whereby", "simulate", "--rate-limit", "0"),
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

        def stop():
            process.kill()
            process.wait()
            process.stdout.close()
        self.addCleanup(stop)
        lines = [process.stdout.readline().strip() for _ in range(2)]
        return [line.split("=", 1)[1] for line in lines]

    def whereby(self, *arguments, **options):
        """Runs the program as the guide says: as the service's user, in the folder of its rules."""
        return self.system.run("env", "--chdir=/etc/whereby", "whereby", *arguments, user="whereby", **options)

    def state(self, unit="whereby"):
        show = self.system.run("systemctl", "show", unit, "--property=ActiveState,UnitFileState,MainPID")
        return dict(line.split("=", 1) for line in show.split())

    def request(self, port, path, headers=None, body=None):
        """Sends a request from another user of the same machine."""
        done = run("nsenter", "-t", self.system.leader, "-n", "setpriv", "--reuid=65534", "--regid=65534",
                   "--clear-groups", "/usr/bin/python3", "-I", "-c", CLIENT,
                   input=json.dumps([port, path, headers or {}, body]))
        return json.loads(done)

    def call(self, token, name, arguments):
        """Calls a function as an agent does, and returns its result."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json",
                   "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}
        message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {"elicitation": {}},
            "clientInfo": {"name": "agent", "version": "1"}}}
        status, answered, _ = self.request(8090, "/mcp", headers, message)
        self.assertEqual(status, 200)
        headers["Mcp-Session-Id"] = {key.lower(): value for key, value in answered.items()}["mcp-session-id"]
        message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        self.assertEqual(self.request(8090, "/mcp", headers, message)[0], 202)
        message = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
            "name": f"whereby_{name}", "arguments": arguments}}
        status, _, text = self.request(8090, "/mcp", headers, message)
        self.assertEqual(status, 200, text)
        data = [line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:")]
        for part in data or [text]:
            with contextlib.suppress(ValueError):
                if (answer := json.loads(part)).get("id") == 2:
                    return answer["result"]
        raise AssertionError(text)

    def test_the_program_works_and_its_pages_and_completions_are_found(self):
        url, key = self.simulator()
        rooms = json.loads(self.system.run(
            "env", f"WHEREBY_API_URL={url}", f"WHEREBY_ACCESS_TOKEN={key}", "whereby", "call", "list_rooms", "--json"))
        self.assertTrue(rooms["data"]["data"])
        self.assertIn("whereby serve", self.system.run("man", "whereby-serve"))
        completed = self.system.run("bash", "-c", """
            . /usr/share/bash-completion/bash_completion
            _completion_loader whereby
            COMP_WORDS=(whereby appr) COMP_CWORD=1
            "$(complete -p whereby | sed 's/.*-F \\([^ ]*\\).*/\\1/')" whereby appr whereby
            echo "${COMPREPLY[@]}\"""")
        self.assertEqual(completed, "approvals\n")
        files = self.system.run("dpkg", "--listfiles", "whereby-agent").split()
        for name in ["zsh/vendor-completions/_whereby", "fish/vendor_completions.d/whereby.fish",
                     "doc/whereby-agent/docs/running-as-a-service.md", "doc/whereby-agent/copyright"]:
            self.assertIn("/usr/share/" + name, files)

    def test_the_service_is_off_until_it_is_enabled_and_then_serves_agents_of_other_users(self):
        self.assertEqual(self.state(), {"ActiveState": "inactive", "UnitFileState": "disabled", "MainPID": "0"})
        url, key = self.simulator()
        self.whereby("configure", "--set", f"api_url={url}", "--token-stdin", input=key)
        self.system.run("systemctl", "enable", "--now", "whereby")
        self.assertEqual(self.state()["ActiveState"], "active")

        # Only the service's user and root can read anything of it.
        for secret in ["mcp.token", ".config/whereby/config.toml", ".local/state/whereby/state.db"]:
            denied = self.system.attempt("cat", f"{STATE}/{secret}", user="nobody")
            self.assertIn("Permission denied", denied.stderr)
        token = self.system.run("cat", f"{STATE}/mcp.token")
        self.assertRegex(token, r"\A[0-9a-f]{64}\Z")
        self.assertEqual(self.request(8090, "/mcp", {"Content-Type": "application/json"}, {"id": 1})[0], 401)

        self.assertFalse(self.call(token, "list_rooms", {})["isError"])
        # The client says that it can ask. It is not asked.
        refused = self.call(token, "create_room", {"room_name_prefix": "agents-"})
        self.assertTrue(refused["isError"])
        waiting, = json.loads(self.whereby("approvals", "list", "--json"))["approvals"]
        self.assertEqual((waiting["function"], waiting["state"]), ("create_room", "pending"))
        self.whereby("approvals", "approve", waiting["id"])
        done = self.call(token, "create_room", {"room_name_prefix": "agents-"})
        self.assertFalse(done["isError"], done)

        link = json.loads(self.whereby("inbox", "--link", "--json"))
        found = re.search(r"http://localhost:8091(/enter/[\w-]+)", json.dumps(link))
        self.assertIn(self.request(8091, found[1], {"Host": "localhost:8091"})[0], (200, 303))

        journal = self.system.run("journalctl", "--no-pager", "--output=cat", "--unit=whereby")
        for secret in [token, key, "/enter/"]:
            self.assertNotIn(secret, journal)
        self.assertIn("Started", journal)

    def test_the_service_is_confined(self):
        self.system.run("systemctl", "start", "whereby")
        self.assertEqual(self.request(8090, "/mcp", {"Content-Type": "application/json"}, {"id": 1})[0], 401)
        process = self.state()["MainPID"]
        status = dict(line.split(":\t", 1) for line in
                      self.system.run("cat", f"/proc/{process}/status").splitlines())
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(status["Seccomp"], "2")
        self.assertEqual({status[name] for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]}, {"0" * 16})
        user = self.system.run("id", "--user", "whereby").strip()
        self.assertEqual(set(status["Uid"].split()), {user})
        self.assertNotEqual(user, "0")
        # It sees the system read-only, and can write only its own state.
        mounts = self.system.run("cat", f"/proc/{process}/mountinfo").splitlines()
        options = {fields[4]: fields[5].split(",")[0] for fields in map(str.split, mounts)}
        self.assertEqual((options["/"], options[STATE]), ("ro", "rw"))
        self.system.run("systemd-analyze", "verify", "/usr/lib/systemd/system/whereby.service")
        # The rest of the score is for the network and for compiled code.
        self.system.run("systemd-analyze", "security", "--offline=yes", "--threshold=12",
                        "/usr/lib/systemd/system/whereby.service")

    def test_a_missing_key_is_in_the_journal(self):
        self.system.run("systemctl", "start", "whereby")
        # systemd does not wait for what the program says.
        with subprocess.Popen(
                self.system.command("timeout", str(PATIENCE), "journalctl", "--follow", "--lines=all", "--output=cat",
                                    "--unit=whereby"),
                stdout=subprocess.PIPE, text=True) as journal:
            found = any("whereby configure --token-stdin" in line for line in journal.stdout)
            journal.kill()
        self.assertTrue(found)

    def test_an_upgrade_keeps_state_rules_and_token_and_restarts_only_what_runs(self):
        self.install("--reinstall")
        self.assertEqual(self.state()["ActiveState"], "inactive")
        self.system.run("systemctl", "enable", "--now", "whereby")
        before, token = self.state(), self.system.run("cat", f"{STATE}/mcp.token")
        self.system.shell("echo '# mine' >>/etc/whereby/.whereby.toml")
        self.install("--reinstall")
        after = self.state()
        self.assertEqual((after["ActiveState"], after["UnitFileState"]), ("active", "enabled"))
        self.assertNotEqual(after["MainPID"], before["MainPID"])
        self.assertEqual(self.system.run("cat", f"{STATE}/mcp.token"), token)
        self.assertIn("# mine", self.system.run("cat", "/etc/whereby/.whereby.toml"))

    def test_removing_keeps_the_state_and_purging_leaves_only_the_locked_user(self):
        self.system.run("systemctl", "enable", "--now", "whereby")
        self.system.run("apt-get", "remove", "--yes", "whereby-agent")
        self.assertEqual(self.state()["ActiveState"], "inactive")
        self.system.run("test", "-s", f"{STATE}/mcp.token")
        self.system.run("apt-get", "purge", "--yes", "whereby-agent")
        self.assertEqual(self.system.run("find", "/", "-xdev", "-iname", "*whereby*", "-not", "-path", "/tmp/*",
                                         "-not", "-path", "/proc/*"), "")
        self.assertEqual(self.system.run("find", "/", "-xdev", "-user", "whereby"), "")
        self.assertIn("whereby L ", self.system.run("passwd", "--status", "whereby"))

    def test_a_person_of_that_name_does_not_become_the_service(self):
        self.system.run("apt-get", "purge", "--yes", "whereby-agent")
        self.system.run("userdel", "whereby")
        self.system.run("useradd", "--create-home", "whereby")
        refused = self.system.attempt("apt-get", "install", "--yes", "/tmp/whereby.deb")
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("not a system user", refused.stdout + refused.stderr)


class Built(unittest.TestCase):
    def test_the_package_is_as_debian_wants_it(self):
        # The other warnings are errors. This one is about uploads to Debian.
        run("lintian", "--allow-root", "--fail-on=error,warning", "--suppress-tags=initial-upload-closes-no-bugs",
            str(package()))
        fields = run("dpkg-deb", "--field", str(package()), "Depends")
        for library in ["libc6 (>= ", "libstdc++6 (>= "]:
            self.assertIn(library, fields)

    def test_another_folder_gives_the_same_bytes(self):
        with tempfile.TemporaryDirectory() as folder:
            files = subprocess.run(["dpkg-deb", "--fsys-tarfile", package()], stdout=subprocess.PIPE, check=True)
            built = rebuild("deb", folder, files.stdout)
            self.assertEqual(built.name, package().name)
            self.assertTrue(filecmp.cmp(built, package(), shallow=False))


if __name__ == "__main__":
    unittest.main()
