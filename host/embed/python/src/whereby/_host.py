"""The host program as a child process, over MCP 2025-06-18: JSON-RPC, one message per line.

This needs one handshake, one kind of request and one question back. The official SDK would bring an
event loop and about thirty packages.
"""

import asyncio
import collections
import contextlib
import itertools
import json
import logging
import math
import os
import queue
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from whereby._error import WherebyError
from whereby._functions import FUNCTIONS, WIT_VERSION
from whereby._program import default_program
from whereby.errors import BY_KIND

PROTOCOL = "2025-06-18"

# The time limits for starting, and for exiting after the input is closed, in seconds.
START_TIMEOUT = 60.0
EXIT_TIMEOUT = 5.0

# The error of calls that are running when this is closed.
CLOSED = ("usage", "this component is closed", "open a new one")

# The maximum number of lines of the program's standard error that an error shows.
LAST_LINES = 10

NO_SUCH_METHOD = -32601

LOG = logging.getLogger("whereby")

# Gets the account, the function and the exact arguments, as text. True allows this one call, False
# declines it, and None leaves it to `whereby approvals`. It runs on its own thread.
Approver = Callable[[str], bool | None]


@dataclass(frozen=True)
class Host:
    """The program `whereby`, which keeps the key, asks for approvals, enforces limits and keeps the audit log.

    Its standard error goes to the logger `whereby` as warnings.
    """

    # The program's path, or its name in PATH. Default: the program that this package brings, else `whereby`.
    program: str | os.PathLike[str] = field(default_factory=default_program)
    # The account of every call, checked once at the start. Default: the configuration's default account.
    account: str | None = None
    # The configuration file. Default: $WHEREBY_CONFIG, else the platform's.
    config: str | os.PathLike[str] | None = None
    # Is asked about calls that need approval. Default: none; such a call raises `ApprovalRequired`, with the
    # id for approving it.
    approver: Approver | None = None
    # The time limit of a call, in seconds, without the time that the approver takes.
    timeout: float = 60.0
    # The program's whole environment. Default: that of this process.
    environment: Mapping[str, str] | None = field(default=None, repr=False)


class HostRuntime:
    """A running `whereby mcp`."""

    def __init__(self, host: Host) -> None:
        if not host.timeout > 0:
            raise WherebyError("configuration", f"the timeout must be more than 0 s, not {host.timeout}")
        self._timeout = host.timeout
        self._child = _Child(host)
        # This also runs when the object is garbage-collected and when the interpreter exits.
        self._end = weakref.finalize(self, self._child.end)
        try:
            self._child.begin()
            self._chosen = _chosen_account(host)
        except BaseException:
            self._end()
            raise

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        return _result(name, self._child.request("tools/call", *self._parameters(name, arguments)))

    async def call_async(self, name: str, arguments: dict[str, Any]) -> Any:
        parameters = self._parameters(name, arguments)
        return _result(name, await self._child.request_async("tools/call", *parameters))

    def close(self) -> None:
        self._end()

    def _parameters(self, name: str, arguments: dict[str, Any]) -> tuple[dict[str, Any], float, bool]:
        parameters = {"name": f"whereby_{name}", "arguments": arguments | self._chosen}
        return parameters, self._timeout, FUNCTIONS[name].effect == "write"


class _Child:
    """The process, and the pending requests."""

    def __init__(self, host: Host) -> None:
        self._approver = host.approver
        self._process = _start(host)
        # A forked process has a copy of this, but must not end the child.
        self._parent = os.getpid()
        self._last_lines: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        # The messages to write. None closes the program's input.
        self._unsent: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        # Guards the fields below. Nothing is waited for while it is held.
        self._lock = threading.Lock()
        # What gets the response to each pending request. None instead of a response means that there will be
        # none.
        self._waiting: dict[int, Callable[[Any], None]] = {}
        # The number of questions that the approver is answering, and the time of its last answer.
        self._questions = 0
        self._last_answer = -math.inf
        # The kind, message and hint of the error after the process ended.
        self._ended: tuple[str, str, str | None] | None = None
        self._is_closing = False
        self._warner = threading.Thread(target=self._warn, name="whereby warnings", daemon=True)
        self._warner.start()
        threading.Thread(target=self._listen, name="whereby answers", daemon=True).start()
        threading.Thread(target=self._write, name="whereby requests", daemon=True).start()

    def begin(self) -> None:
        """Does the handshake."""
        hello = {
            "protocolVersion": PROTOCOL,
            "capabilities": {} if self._approver is None else {"elicitation": {}},
            "clientInfo": {"name": "whereby-python", "version": WIT_VERSION},
        }
        match self.request("initialize", hello, START_TIMEOUT, is_write=False):
            case {"serverInfo": {"name": "whereby"}, "protocolVersion": version} if version == PROTOCOL:
                self._send({"method": "notifications/initialized"})
            case _:
                raise WherebyError("configuration", f"the program is not `whereby mcp` with MCP {PROTOCOL}")

    def request(self, method: str, parameters: Any, timeout: float, is_write: bool) -> Any:
        """Sends a request and waits for its result."""
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        with self._pending(method, parameters, answers.put):
            answer = self._wait(answers, timeout, is_write)
        return self._result(method, answer, is_write)

    async def request_async(self, method: str, parameters: Any, timeout: float, is_write: bool) -> Any:
        """Sends a request and waits for its result, while the event loop runs."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()

        def settle(response: Any) -> None:
            if not answer.done():
                answer.set_result(response)

        def deliver(response: Any) -> None:
            # A loop that was closed waits for nothing.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, response)

        with self._pending(method, parameters, deliver):
            while not (await asyncio.wait([answer], timeout=timeout))[0]:
                self._check_time(timeout, is_write)
        return self._result(method, answer.result(), is_write)

    @contextlib.contextmanager
    def _pending(self, method: str, parameters: Any, deliver: Callable[[Any], None]) -> Iterator[None]:
        """Sends a request whose response `deliver` gets, and cancels it if the block fails."""
        with self._lock:
            if self._ended:
                raise _error(self._ended)
            number = next(self._numbers)
            self._waiting[number] = deliver
        try:
            self._send({"id": number, "method": method, "params": parameters})
            yield
        except BaseException:
            # Nobody waits for it any more, for example after Ctrl-C.
            self._cancel(number)
            raise
        finally:
            with self._lock:
                self._waiting.pop(number, None)

    def _result(self, method: str, answer: Any, is_write: bool) -> Any:
        match answer:
            case {"result": result}:
                return result
            case {"error": _} if self._is_closing:
                # Closing cancelled it.
                raise _error(CLOSED, is_write)
            case {"error": {"message": message}}:
                raise WherebyError("internal", f"the host refused {method}: {message}")
            case _:
                assert self._ended, "it is set before the waiting threads wake up"
                raise _error(self._ended, is_write)

    def end(self) -> None:
        """Ends the process by closing its input."""
        if os.getpid() != self._parent:
            return
        self._is_closing = True
        with self._lock:
            running = list(self._waiting)
        # The process would finish them before it exits.
        for number in running:
            self._cancel(number)
        self._unsent.put(None)
        try:
            self._process.wait(EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _cancel(self, number: int) -> None:
        self._send({"method": "notifications/cancelled", "params": {"requestId": number}})

    def _send(self, message: dict[str, Any]) -> None:
        self._unsent.put(json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False).encode() + b"\n")

    def _write(self) -> None:
        """Writes the messages. No caller waits for a program that does not read."""
        assert self._process.stdin, "it is a pipe"
        # If the process is gone, the listener wakes the waiting callers.
        with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
            while line := self._unsent.get():
                pipe.write(line)
                pipe.flush()

    def _wait(self, answers: queue.SimpleQueue[Any], timeout: float, is_write: bool) -> Any:
        while True:
            try:
                return answers.get(timeout=timeout)
            except queue.Empty:
                self._check_time(timeout, is_write)

    def _check_time(self, timeout: float, is_write: bool) -> None:
        """Fails if a request has waited too long."""
        # The time that a person takes does not count. The limit restarts after each answer.
        with self._lock:
            is_asking = self._questions > 0 or time.monotonic() < self._last_answer + timeout
        if not is_asking:
            ended = ("timeout", f"the host did not answer within {timeout:g} s", "try again later")
            raise _error(ended, is_write) from None

    def _listen(self) -> None:
        """Distributes the responses until the process ends."""
        failure = None
        assert self._process.stdout, "it is a pipe"
        with self._process.stdout as lines:
            for line in lines:
                failure = self._take(line)
                if failure:
                    break
        if failure and failure[0] == "internal":
            self._process.kill()
        try:
            status = self._process.wait(EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        # The rest of standard error. The program's own children may keep it open.
        self._warner.join(1)
        if self._is_closing:
            failure = CLOSED
        if not failure:
            how = f"with exit status {status}" if status >= 0 else f"by signal {-status}"
            last_lines = "".join(f"\n{line}" for line in self._last_lines)
            failure = ("internal", f"`whereby mcp` ended {how}{last_lines}", "open a new component")
        with self._lock:
            self._ended = failure
            waiting = list(self._waiting.values())
        for deliver in waiting:
            deliver(None)

    def _take(self, line: bytes) -> tuple[str, str, str | None] | None:
        """Handles one message. Returns an error if no more messages follow."""
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        match message:
            case {"jsonrpc": "2.0", "id": number, "method": method}:
                self._asked(number, method, message.get("params"))
            case {"jsonrpc": "2.0", "method": _}:
                # A notification about changed tools, which do not matter here.
                pass
            case {"jsonrpc": "2.0", "id": int(number)}:
                with self._lock:
                    deliver = self._waiting.get(number)
                # A cancelled request may still get a response.
                if deliver:
                    deliver(message)
            case {"success": False, "error": {"kind": str(kind), "message": str(said), "hint": hint}}:
                # With --json, the program reports a failed start like this.
                return kind, said, hint
            case _:
                return "internal", "`whereby mcp` sent something that is not JSON-RPC and was ended", None
        return None

    def _asked(self, number: Any, method: Any, parameters: Any) -> None:
        """Responds to a request from the program."""
        match method, parameters:
            case "elicitation/create", {"message": str(question)} if self._approver:
                # On its own thread, so that other calls continue.
                asking = (self._approver, number, question)
                threading.Thread(target=self._ask, args=asking, name="whereby approver", daemon=True).start()
            case "ping", _:
                self._send({"id": number, "result": {}})
            case _:
                error = {"code": NO_SUCH_METHOD, "message": f"this client has no {method}"}
                self._send({"id": number, "error": error})

    def _ask(self, approver: Approver, number: Any, question: str) -> None:
        with self._lock:
            self._questions += 1
        answer: dict[str, Any] = {"action": "cancel"}
        try:
            said = approver(question)
            # Only these two are answers.
            if said is True:
                answer = {"action": "accept", "content": {"approve": True}}
            elif said is False:
                answer = {"action": "accept", "content": {"approve": False}}
        finally:
            with self._lock:
                self._questions -= 1
                self._last_answer = time.monotonic()
            self._send({"id": number, "result": answer})

    def _warn(self) -> None:
        """Logs the program's standard error."""
        assert self._process.stderr, "it is a pipe"
        with self._process.stderr as lines:
            for line in lines:
                text = line.decode(errors="replace").rstrip()
                self._last_lines.append(text)
                LOG.warning("%s", text)


def _result(name: str, answer: Any) -> Any:
    """Returns the result of a call, or raises its error."""
    match answer:
        case {"structuredContent": dict(result)}:
            return result
        case {"_meta": {"whereby/error": {"kind": str(kind)} as error}}:
            parts = ("message", "hint", "effect", "http_status", "retry_after_seconds", "approval_id")
            raise BY_KIND.get(kind, WherebyError)(kind, *(error.get(part) for part in parts))
        case _:
            # The content may be a secret, so it is not shown.
            raise WherebyError("internal", f"the host's response to {name} has no result")


def _command(host: Host, word: str) -> list[str]:
    # With --json, errors are JSON as well.
    command = [os.fspath(host.program), word, "--json"]
    if host.config is not None:
        # One word, so that the value cannot be mistaken for a flag.
        command.append(f"--config={os.fspath(host.config)}")
    return command


def _chosen_account(host: Host) -> dict[str, str]:
    """Returns the argument that selects the account, if there are several."""
    if host.account is None:
        return {}
    command = _command(host, "accounts")
    said = subprocess.run(command, env=host.environment, stdin=subprocess.DEVNULL, capture_output=True).stdout
    match json.loads(said or "null"):
        case {"accounts": list(accounts)}:
            names = [account["name"] for account in accounts if account["enabled"]]
        case {"error": {"kind": str(kind), "message": str(message), "hint": hint}}:
            raise _error((kind, message, hint))
        case _:
            raise WherebyError("internal", "`whereby accounts` did not list the accounts")
    if host.account not in names:
        known = ", ".join(names) or "none"
        raise WherebyError("usage", f"no account is called `{host.account}`; enabled accounts: {known}")
    # With one account, the tools have no such argument.
    return {"account": host.account} if len(names) > 1 else {}


def _start(host: Host) -> subprocess.Popen[bytes]:
    command = _command(host, "mcp")
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=host.environment,
            # Ctrl-C must reach only this process, which ends the child.
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        hint = "install it with `cargo install whereby-agent`, or pass the path of the program"
        raise WherebyError("configuration", f"{command[0]} cannot be started: {reason}", hint) from None


def _error(ended: tuple[str, str, str | None], may_have_happened: bool = False) -> WherebyError:
    kind, message, hint = ended
    error = BY_KIND.get(kind, WherebyError)
    if may_have_happened:
        return error(kind, message, "the change may have been made: check before trying again", "unknown")
    return error(kind, message, hint)
