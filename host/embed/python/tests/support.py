"""Support for the tests: the program, its simulator, and APIs that misbehave."""

import atexit
import http.server
import json
import logging
import os
import pathlib
import socket
import subprocess
import tempfile
import threading
import unittest
from collections.abc import Callable
from typing import Any

from whereby import Bare, Host

ROOT = pathlib.Path(__file__).resolve().parents[4]
PROGRAM = os.environ.get("WHEREBY", str(ROOT / "target" / "debug" / "whereby"))
PATIENCE = 60
# The rules of a guarded component, and the same in a configuration file.
WRITES = 'write = "allow"\ndestination = "allow"\n'
ALLOWED = "[permissions]\n" + WRITES

# The program's compiled code, shared by all tests.
CACHE = tempfile.TemporaryDirectory()
atexit.register(CACHE.cleanup)

# The program's warnings would clutter the output.
logging.getLogger("whereby").addHandler(logging.NullHandler())


class Case(unittest.TestCase):
    """A test with its own home directory, a component and a configuration."""

    def setUp(self) -> None:
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.home = pathlib.Path(home.name)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": home.name,
            "XDG_CONFIG_HOME": home.name,
            "XDG_STATE_HOME": f"{home.name}/state",
            "XDG_CACHE_HOME": CACHE.name,
        }
        self.token = "a-key-that-nobody-may-see"
        self.url = "http://127.0.0.1:9/v1"

    def simulate(self, *flags: str) -> None:
        """Starts a simulator and uses its key and URL from then on."""
        command = [PROGRAM, "simulate", "--listen", "127.0.0.1:0", "--rate-limit", "0", *flags]
        simulator = subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.addCleanup(end, simulator)
        assert simulator.stdout
        said: dict[str, str] = {}
        while len(said) < 2:
            name, _, value = simulator.stdout.readline().strip().removeprefix("export ").partition("=")
            said[name] = value
        self.token, self.url = said["WHEREBY_ACCESS_TOKEN"], said["WHEREBY_API_URL"]

    def configure(self, rules: str = "", accounts: tuple[str, ...] = ("work",)) -> pathlib.Path:
        text = f'default_account = "{accounts[0]}"\n{rules}'
        for name in accounts:
            text += f'\n[accounts.{name}]\naccess_token = "{self.token}"\napi_url = "{self.url}"\n'
        file = self.home / "whereby" / "config.toml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(0o600)
        return file

    def whereby(self, *arguments: str) -> str:
        ran = subprocess.run(
            [PROGRAM, *arguments], env=self.environment, capture_output=True, text=True, check=True
        )
        return ran.stdout

    def audit(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.whereby("audit", "--json"))["audit"]
        return rows

    def component(self, *flags: str) -> pathlib.Path:
        file = self.home / f"whereby{''.join(flags)}.wasm"
        if not file.exists():
            self.whereby("component", "export", *flags, str(file))
        return file

    def bare(self, **others: Any) -> Bare:
        return Bare(self.component(), self.token, self.url, **others)

    def guarded(self, permissions: str | None = WRITES, **others: Any) -> Bare:
        component = self.component("--guarded")
        return Bare(component, self.token, self.url, permissions=permissions, **others)

    def host(self, rules: str = ALLOWED, **others: Any) -> Host:
        self.configure(rules)
        return Host(PROGRAM, environment=self.environment, **others)


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


class Api:
    """A server that gives every request a response of this status, and records the requests.

    The body is the same for all, or depends on the request's path and query.
    """

    def __init__(self, status: int, body: str | Callable[[str], str], **headers: str) -> None:
        self.authorizations: list[str | None] = []
        self.paths: list[str] = []
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                self.read_body()
                api.authorizations.append(self.headers.get("authorization"))
                api.paths.append(self.path)
                said = (body if isinstance(body, str) else body(self.path)).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def read_body(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                if self.headers.get("transfer-encoding") == "chunked":
                    while size := int(self.rfile.readline(), 16):
                        self.rfile.read(size + 2)
                    self.rfile.readline()

            do_GET = do_POST = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                """Logs nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def pages(following: dict[str, str]) -> Callable[[str], str]:
    """Returns the body of a page of two rooms for each cursor; `following` has the cursor of the next page."""

    def body(path: str) -> str:
        cursor = path.partition("cursor=")[2]
        names = [f"{cursor or 'first'}-{number}" for number in range(2)]
        rooms = [
            {
                "meetingId": name,
                "roomName": f"/{name}",
                "roomUrl": f"https://x.whereby.com/{name}",
                "startDate": "2026-01-01T00:00:00Z",
                "endDate": "2099-01-01T00:00:00Z",
            }
            for name in names
        ]
        return json.dumps({"results": rooms, "cursor": following.get(cursor)})

    return body


class SilentApi:
    """A server that never responds."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        # Set when a request has arrived.
        self.is_asked = threading.Event()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self.is_asked.set()

    def wait_for_the_end(self) -> None:
        """Waits until the client ends its first connection."""
        self._connections[0].settimeout(PATIENCE)
        while self._connections[0].recv(4096):
            pass

    def close(self) -> None:
        # `shutdown` wakes a thread in accept(); `close` does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            connection.close()
