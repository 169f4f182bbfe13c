"""Installs the packages for Python and Node.js as users do, and uses them.

Makes them of the program in WHEREBY, or of target/release/whereby. Needs npm, and uv from binaries.txt. Run it with:
python -m unittest discover tests/packages
"""

import base64
import functools
import hashlib
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import tomllib
import unittest
import urllib.parse
import zipfile

import yaml

from support import CARGO, DIST, PATIENCE, ROOT, VERSION, WHEREBY, digests, ended, made, package, server_name

MADE = ["whereby_agent-*.whl", "whereby-agent-*.tgz"]
# Where a user's programs are, without `whereby`.
NODE = pathlib.Path(shutil.which("node") or "node").resolve().parent
SYSTEM = f"{NODE}:/usr/bin:/bin"
NODE_PLATFORM = subprocess.check_output([NODE / "node", "-p", "process.platform + '-' + process.arch"], text=True).strip()
HELLO = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


def status_of(process):
    """Waits for the end of a process, and returns its status."""
    status = process.wait(PATIENCE)
    # Only now, because the end of its input ends it, too.
    process.communicate()
    return status


@functools.cache
def packaged():
    """Makes the packages once. Returns the wheel and the packages for npm, by name."""
    package("wheel", "npm")
    [wheel] = DIST.glob("whereby_agent-*.whl")
    found = {}
    for path in DIST.glob("whereby-agent-*.tgz"):
        with tarfile.open(path) as archive:
            manifest = json.load(archive.extractfile("package/package.json"))
        found[manifest["name"]] = (manifest, path.read_bytes())
    return wheel, found


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = pathlib.Path(folder.name)
        self.environment = {
            "PATH": SYSTEM, "HOME": folder.name, "XDG_CONFIG_HOME": folder.name,
            "XDG_STATE_HOME": f"{folder.name}/state", "XDG_CACHE_HOME": f"{folder.name}/cache",
        }

    def simulate(self):
        """Starts a simulator, and adds its key and URL to the environment."""
        simulator = subprocess.Popen([WHEREBY, "simulate"], env=self.environment, stdout=subprocess.PIPE,
                                     stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(simulator.stdout.close)
        self.addCleanup(simulator.wait)
        self.addCleanup(simulator.kill)
        for _ in range(2):
            name, value = simulator.stdout.readline().strip().removeprefix("export ").split("=", 1)
            self.environment[name] = value

    def speaks_mcp(self, *command, **options):
        """Checks that a command is the MCP server, and that it ends with its input."""
        ran = ended(*command, input=json.dumps(HELLO) + "\n", **options)
        self.assertEqual(json.loads(ran.stdout)["result"]["serverInfo"]["name"], "whereby")


class Packages(unittest.TestCase):
    def test_all_have_one_version(self):
        read = lambda path: (ROOT / path).read_text()
        lock = json.loads(read("host/embed/node/package-lock.json"))
        versions = {
            "pyproject.toml": tomllib.loads(read("host/embed/python/pyproject.toml"))["project"]["version"],
            "package.json": json.loads(read("host/embed/node/package.json"))["version"],
            "package-lock.json": lock["version"],
            "the root of package-lock.json": lock["packages"][""]["version"],
        }
        for page in ("README.md", "docs/installing.md", "docs/running-as-a-service.md"):
            found = re.findall(r"whereby-agent[\w-]*?[_:-]v?(\d+\.\d+\.\d+)|refs/tags/v(\d+\.\d+\.\d+)", read(page))
            self.assertTrue(found, page)
            versions.update({f"{page}, {number}": "".join(it) for number, it in enumerate(found)})
        self.assertEqual(set(versions.values()), {VERSION}, versions)

    def test_they_name_the_server_as_the_mcp_registry_does(self):
        wheel, npm = packaged()
        self.assertEqual(npm["whereby-agent"][0]["mcpName"], server_name())
        with zipfile.ZipFile(wheel) as archive:
            readme = archive.read(f"whereby_agent-{VERSION}.dist-info/METADATA").decode()
        self.assertIn(f"<!-- mcp-name: {server_name()} -->", readme)

    def test_the_package_for_npm_names_the_program_of_every_platform(self):
        manifest, _ = packaged()[1]["whereby-agent"]
        platforms = [f"whereby-agent-{it}" for it in ("linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64")]
        self.assertEqual(manifest["optionalDependencies"], dict.fromkeys(platforms, VERSION))

    def test_the_same_program_makes_the_same_bytes(self):
        wheel, _ = packaged()
        first = digests(MADE)
        names = [f"whereby-agent{it}-{VERSION}.tgz" for it in ("", f"-{NODE_PLATFORM}")]
        self.assertEqual(set(first), {wheel.name, *names})
        for path in made(MADE):
            path.unlink()
        old = os.umask(0o077)
        self.addCleanup(os.umask, old)
        package("wheel", "npm")
        self.assertEqual(digests(MADE), first)

    def test_what_comes_with_the_program_comes_along(self):
        # Any program will do.
        with tempfile.TemporaryDirectory() as folder:
            prefix, dist = pathlib.Path(folder, "prefix"), pathlib.Path(folder, "dist")
            (prefix / "bin").mkdir(parents=True)
            (prefix / "lib" / "whereby").mkdir(parents=True)
            dist.mkdir()
            shutil.copy(os.path.realpath("/bin/true"), prefix / "bin" / "whereby")
            (prefix / "lib" / "whereby" / "component.cwasm").write_text("compiled code")
            environment = {
                **os.environ, "WHEREBY": str(WHEREBY), "PREFIX": str(prefix), "DIST": str(dist),
                "VERSION": VERSION, "SOURCE_DATE_EPOCH": "1700000000", "REPOSITORY": CARGO["repository"],
            }
            for kind in ("wheel", "npm"):
                build = ROOT / "host" / "packages" / kind / "build"
                refused = ended(build, env={**environment, "VERSION": "9.9.9"}, status=1)
                self.assertIn("the program's version is 9.9.9", refused.stderr)
                self.assertEqual(list(dist.iterdir()), [])
                ended(build, env=environment)
                files = {}
                for path in dist.iterdir():
                    if path.suffix == ".whl":
                        with zipfile.ZipFile(path) as archive:
                            files.update({name: archive.read(name) for name in archive.namelist()})
                    else:
                        with tarfile.open(path) as archive:
                            files.update({name: archive.extractfile(name).read() for name in archive.getnames()})
                    path.unlink()
                code = {"wheel": f"whereby_agent-{VERSION}.data/data/lib", "npm": "package/lib"}[kind]
                self.assertEqual(files[f"{code}/whereby/component.cwasm"], b"compiled code")


class Wheel(Case):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        ended(sys.executable, "-m", "venv", folder.name)
        cls.programs = pathlib.Path(folder.name, "bin")
        ended(cls.programs / "pip", "install", "--quiet", "--no-index", packaged()[0])

    def test_it_runs_with_the_glibc_that_its_tag_names(self):
        wheel, _ = packaged()
        tag = tuple(int(part) for part in re.search(r"-py3-none-manylinux_(\d+)_(\d+)_\w+\.whl$", wheel.name).groups())
        with zipfile.ZipFile(wheel) as archive:
            program = archive.read(f"whereby_agent-{VERSION}.data/scripts/whereby")
            licences = [name for name in archive.namelist() if "/licenses/LICENSE-" in name]
        needed = {(int(major), int(minor)) for major, minor in re.findall(rb"\0GLIBC_(\d+)\.(\d+)\b", program)}
        self.assertEqual(max(needed), tag)
        self.assertEqual(len(licences), 2)

    def test_the_package_starts_the_program_that_it_brings(self):
        self.simulate()
        code = (
            "import asyncio\n"
            "from whereby import *\n"
            "async def names():\n"
            "    async with AsyncWherebyComponent(Host()) as w:\n"
            "        return [room['roomName'] async for room in w.iterate_rooms()]\n"
            "with WherebyComponent(Host()) as w: rooms = w.list_rooms()['data']\n"
            "assert asyncio.run(names()) == [room['roomName'] for room in rooms] != []\n"
            "print(Host().program)\n"
        )
        ran = ended(self.programs / "python", "-c", code, env=self.environment)
        self.assertEqual(pathlib.Path(ran.stdout.strip()), (self.programs / "whereby").resolve())

    def test_its_commands_are_the_program(self):
        for command in ([self.programs / "whereby"], [self.programs / "whereby-agent"], [self.programs / "python", "-m", "whereby"]):
            with self.subTest(command[-1]):
                said = ended(*command, "--version", env=self.environment).stdout
                self.assertEqual(said, f"whereby {VERSION}\n")
                self.assertIn("unrecognized", ended(*command, "no-such-command", status=2, env=self.environment).stderr)
                self.speaks_mcp(*command, "mcp", env=self.environment)
                server = subprocess.Popen([*command, "mcp"], env=self.environment, stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                server.stdin.write(json.dumps(HELLO).encode() + b"\n")
                server.stdin.flush()
                server.stdout.readline()
                # It is the very process that was started.
                self.assertEqual(os.readlink(f"/proc/{server.pid}/exe"), str((self.programs / "whereby").resolve()))
                server.terminate()
                self.assertEqual(status_of(server), 128 + signal.SIGTERM)

    def test_the_program_is_found_in_a_folder_of_its_own(self):
        folder = self.home / "packages"
        ended(sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--target", folder, packaged()[0])
        environment = {**self.environment, "PYTHONPATH": str(folder)}
        show = [sys.executable, "-c", "from whereby import Host; print(Host().program)"]
        self.assertEqual(ended(*show, env=environment).stdout, f"{folder}/bin/whereby\n")
        (folder / "bin" / "whereby").unlink()
        self.assertEqual(ended(*show, env=environment).stdout, "whereby\n")
        ran = ended(sys.executable, "-m", "whereby", "mcp", env=environment, status=1)
        self.assertEqual(ran.stderr, "error: whereby cannot be started: No such file or directory\n"
                         "hint: install it with `cargo install whereby-agent`\n")
        use = "from whereby import *\ntry: WherebyComponent(Host())\nexcept WherebyError as error: print(error.hint)"
        self.assertIn("cargo install whereby-agent", ended(sys.executable, "-c", use, env=environment).stdout)

    def test_uvx_runs_the_program(self):
        environment = {
            **self.environment, "UV_FIND_LINKS": str(DIST), "UV_OFFLINE": "1", "UV_PYTHON": sys.executable,
            "UV_PYTHON_DOWNLOADS": "never",
        }
        uvx = pathlib.Path(sys.executable).with_name("uvx")
        packaged()
        self.speaks_mcp(uvx, "whereby-agent", "mcp", env=environment)
        self.assertEqual(ended(uvx, "--from", "whereby-agent", "whereby", "--version", env=environment).stdout,
                         f"whereby {VERSION}\n")


class Registry(http.server.ThreadingHTTPServer):
    """A registry that has the packages, or none of them yet, and redirects to npm's own for all others."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"
        self.has_packages = True
        self.others = ended("npm", "config", "get", "registry").stdout.strip().rstrip("/")
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = urllib.parse.unquote(self.path.lstrip("/"))
        manifest, archive = packaged()[1].get(name.removeprefix("archive/"), (None, None))
        if manifest and not self.server.has_packages:
            self.send_error(404)
            return
        if not manifest:
            self.send_response(307)
            self.send_header("location", self.server.others + self.path)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
        dist = {"tarball": f"{self.server.url}archive/{name}", "integrity": integrity}
        document = {"name": name, "dist-tags": {"latest": VERSION}, "versions": {VERSION: {**manifest, "dist": dist}}}
        body = archive if name.startswith("archive/") else json.dumps(document).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Logs nothing."""


class Npm(Case):
    def setUp(self):
        super().setUp()
        packaged()
        registry = self.registry = Registry()
        self.addCleanup(registry.server_close)
        self.addCleanup(registry.shutdown)
        for name, value in {"registry": registry.url, "cache": str(self.home / "npm"), "audit": "false",
                            "fund": "false", "update_notifier": "false"}.items():
            self.environment[f"npm_config_{name}"] = value
        self.project = self.home / "project"
        self.project.mkdir()
        (self.project / "package.json").write_text('{"private": true, "type": "module"}')

    def install(self, *flags):
        """Installs the package into a project. Returns its folder of programs."""
        ended("npm", "install", *flags, "whereby-agent", cwd=self.project, env=self.environment)
        return self.project / "node_modules" / ".bin"

    def script(self, code):
        return ended("node", "--input-type=module", "--eval", code, cwd=self.project, env=self.environment).stdout

    def test_the_package_starts_the_program_that_npm_installed(self):
        self.install()
        self.simulate()
        rooms = self.script(
            'import { WherebyComponent, bare, host } from "whereby-agent";\n'
            "const { WHEREBY_ACCESS_TOKEN: accessToken, WHEREBY_API_URL: apiUrl } = process.env;\n"
            "const names = async (runtime) => {\n"
            "  const whereby = await WherebyComponent.open(runtime);\n"
            "  const found = [];\n"
            "  for await (const { roomName } of whereby.iterateRooms()) found.push(roomName);\n"
            "  await whereby.close();\n"
            "  return found;\n"
            "};\n"
            "console.log(JSON.stringify([await names(host()), await names(bare({ accessToken, apiUrl }))]));\n"
        )
        through_the_program, bare = json.loads(rooms)
        self.assertTrue(through_the_program)
        self.assertEqual(through_the_program, bare)

    def test_its_commands_are_the_program(self):
        programs = self.install()
        for name in ("whereby-agent", "whereby"):
            with self.subTest(name):
                said = ended("npx", "--no", name, "--", "--version", cwd=self.project, env=self.environment).stdout
                self.assertEqual(said, f"whereby {VERSION}\n")
                command = programs / name
                self.assertIn("unrecognized", ended(command, "no-such-command", status=2, env=self.environment).stderr)
                self.speaks_mcp(command, "mcp", env=self.environment)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            server, program = self.server(programs)
            server.send_signal(number)
            self.assertEqual(status_of(server), 128 + number)
            self.assertFalse(pathlib.Path(f"/proc/{program}").exists())
        server, program = self.server(programs)
        os.kill(program, signal.SIGKILL)
        self.assertEqual(status_of(server), -signal.SIGKILL)

    def server(self, programs):
        """Starts the MCP server. Returns the process and the id of the program's."""
        server = subprocess.Popen([programs / "whereby-agent", "mcp"], env=self.environment, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        server.stdin.write(json.dumps(HELLO).encode() + b"\n")
        server.stdin.flush()
        self.assertIn(b"serverInfo", server.stdout.readline())
        [program] = pathlib.Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        return server, int(program)

    def test_the_release_publishes_them(self):
        release = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
        [script] = [it["run"] for it in release["jobs"]["npm"]["steps"] if it.get("name") == "Publish"]
        self.registry.has_packages = False
        (self.home / "dist").mkdir()
        for path in DIST.glob("*.tgz"):
            shutil.copy(path, self.home / "dist")
        ran = ended("bash", "-euo", "pipefail", "-c", script, cwd=self.home, env={
            **self.environment, "GITHUB_REF_NAME": f"v{VERSION}", "npm_config_dry_run": "true"})
        # The one that needs the other comes last.
        self.assertEqual(ran.stdout.split(), ["+", f"whereby-agent-{NODE_PLATFORM}@{VERSION}",
                                              "+", f"whereby-agent@{VERSION}"])

    def test_npx_runs_the_program_without_an_installation(self):
        self.speaks_mcp("npx", "--yes", "whereby-agent", "mcp", cwd=self.home, env=self.environment)

    def test_without_a_package_for_the_platform_it_says_what_to_do(self):
        programs = self.install("--omit=optional")
        ran = ended(programs / "whereby-agent", "mcp", status=1, env=self.environment)
        self.assertRegex(ran.stderr, r"^error: the package whereby-agent-\w+-\w+, which has the program, is not installed\n"
                         "hint: install the program with `cargo install whereby-agent`\n$")
        hint = self.script(
            'import { WherebyComponent, host } from "whereby-agent";\n'
            "await WherebyComponent.open(host()).catch(({ kind, hint }) => console.log(kind, hint));\n"
        )
        self.assertRegex(hint, "^configuration .*cargo install whereby-agent")


if __name__ == "__main__":
    unittest.main()
