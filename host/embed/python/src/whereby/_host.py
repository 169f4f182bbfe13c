"""The host program as a child process: JSON-RPC, a message a line, as MCP 2025-06-18 has it.

The part of MCP that this needs is one handshake, one kind of request and one question back. The
official SDK would bring an event loop and some thirty packages.
"""

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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from whereby._error import WherebyError
from whereby._functions import FUNCTIONS, WIT_VERSION
from whereby.errors import BY_KIND

PROTOCOL = "2025-06-18"

# How long the program may take to begin, and to end once its input is closed, in seconds.
BEGIN_PATIENCE = 60.0
END_PATIENCE = 5.0

# Why a call ends that was under way at the end of this.
CLOSED = ("usage", "this WherebyComponent is closed", None)

# How many lines of the program's standard error an error about its end may show.
LAST_LINES = 10

NO_SUCH_METHOD = -32601

LOG = logging.getLogger("whereby")

# Is shown the account, the function and the exact arguments, as text. True lets this one call be
# made, False declines it, None leaves it to `whereby approvals`. It is run on a thread of its own.
Approver = Callable[[str], bool | None]


@dataclass(frozen=True)
class Host:
    """The program `whereby`, which keeps the key, asks, limits and records.

    What it says on standard error goes to the logger `whereby` as warnings.
    """

    # The program's path, or a name that is looked for in PATH.
    program: str | os.PathLike[str] = "whereby"
    # The account by which calls are made; that it is there is looked at once, at the beginning.
    # Default: the configuration's default account.
    account: str | None = None
    # The configuration file. Default: $WHEREBY_CONFIG, else the platform's.
    config: str | os.PathLike[str] | None = None
    # Who is asked about a call that the policy wants a person's answer for. Default: nobody; such
    # a call raises `ApprovalRequired`, with the id by which a person approves it.
    approver: Approver | None = None
    # How many seconds a call may take, besides the time for which the approver is asked.
    timeout: float = 60.0
    # The program's whole environment. Default: that of this process.
    environment: Mapping[str, str] | None = field(default=None, repr=False)


class HostRuntime:
    """One `whereby mcp`."""

    def __init__(self, host: Host) -> None:
        if not host.timeout > 0:
            raise WherebyError("configuration", f"a timeout of {host.timeout} s is none")
        self._timeout = host.timeout
        self._child = _Child(host)
        # Also where this is forgotten, and when the interpreter exits.
        self._end = weakref.finalize(self, self._child.end)
        try:
            self._child.begin()
            self._chosen = _chosen_account(host)
        except BaseException:
            self._end()
            raise

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        is_write = FUNCTIONS[name].effect == "write"
        parameters = {"name": f"whereby_{name}", "arguments": arguments | self._chosen}
        match self._child.request("tools/call", parameters, self._timeout, is_write):
            case {"structuredContent": dict(result)}:
                return result
            case {"_meta": {"whereby/error": {"kind": str(kind)} as error}}:
                parts = ("message", "hint", "effect", "http_status", "retry_after_seconds", "approval_id")
                raise BY_KIND.get(kind, WherebyError)(kind, *(error.get(part) for part in parts))
            case _:
                # What it has instead may be a secret, and is not shown.
                raise WherebyError("internal", f"the host's answer to {name} has no result")

    def close(self) -> None:
        self._end()


class _Child:
    """The process, and the requests that wait for its answers."""

    def __init__(self, host: Host) -> None:
        self._approver = host.approver
        self._process = _start(host)
        # A fork of this process has a copy of this, and is not to end what it did not start.
        self._parent = os.getpid()
        self._last_lines: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        self._writing = threading.Lock()
        self._numbers = itertools.count(1)
        # Guards what follows; nothing is written or waited for under it.
        self._lock = threading.Lock()
        # The requests that have no answer yet. Instead of one, None says that there will be none.
        self._waiting: dict[int, queue.SimpleQueue[Any]] = {}
        # How many questions the approver has before it, and when it was last done with one.
        self._questions = 0
        self._last_answer = -math.inf
        # Kind, message and hint of why there are no answers any more.
        self._ended: tuple[str, str, str | None] | None = None
        self._is_closing = False
        self._warner = threading.Thread(target=self._warn, name="whereby warnings", daemon=True)
        self._warner.start()
        threading.Thread(target=self._listen, name="whereby answers", daemon=True).start()

    def begin(self) -> None:
        """The handshake."""
        hello = {
            "protocolVersion": PROTOCOL,
            "capabilities": {} if self._approver is None else {"elicitation": {}},
            "clientInfo": {"name": "whereby-python", "version": WIT_VERSION},
        }
        match self.request("initialize", hello, BEGIN_PATIENCE, is_write=False):
            case {"serverInfo": {"name": "whereby"}, "protocolVersion": version} if version == PROTOCOL:
                self._send({"method": "notifications/initialized"})
            case _:
                raise WherebyError("configuration", f"the program is not `whereby mcp` with MCP {PROTOCOL}")

    def request(self, method: str, parameters: Any, timeout: float, is_write: bool) -> Any:
        """Sends a request and waits for its result."""
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        with self._lock:
            if self._ended:
                raise _error(self._ended)
            number = next(self._numbers)
            self._waiting[number] = answers
        try:
            self._send({"id": number, "method": method, "params": parameters})
            answer = self._wait(answers, timeout, is_write)
        except BaseException:
            # Nobody waits for it any more, also after Ctrl-C.
            self._send({"method": "notifications/cancelled", "params": {"requestId": number}})
            raise
        finally:
            with self._lock:
                self._waiting.pop(number, None)
        match answer:
            case {"result": result}:
                return result
            case {"error": _} if self._is_closing:
                # It was cancelled by that.
                raise _error(CLOSED, is_write)
            case {"error": {"message": message}}:
                raise WherebyError("internal", f"the host refused {method}: {message}")
            case _:
                assert self._ended, "it is set before those that wait are told"
                raise _error(self._ended, is_write)

    def end(self) -> None:
        """Ends the process: once its input is closed, it stops what it does and exits."""
        if os.getpid() != self._parent:
            return
        self._is_closing = True
        # Where a thread is stuck in writing, the process is stuck, too, and is killed below.
        if self._writing.acquire(timeout=END_PATIENCE):
            try:
                assert self._process.stdin, "it is a pipe"
                self._process.stdin.close()
            except BrokenPipeError:
                # It ended by itself, with something unread.
                pass
            finally:
                self._writing.release()
        try:
            self._process.wait(END_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, message: dict[str, Any]) -> None:
        line = json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False).encode() + b"\n"
        assert self._process.stdin, "it is a pipe"
        # Where the process is gone, or this is closed, the listener tells those that wait.
        with self._writing, contextlib.suppress(BrokenPipeError, ValueError):
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def _wait(self, answers: queue.SimpleQueue[Any], timeout: float, is_write: bool) -> Any:
        while True:
            try:
                return answers.get(timeout=timeout)
            except queue.Empty:
                # A person's time is not the host's, which has all of its own again after an answer.
                with self._lock:
                    is_asking = self._questions > 0 or time.monotonic() < self._last_answer + timeout
                if not is_asking:
                    ended = ("timeout", f"the host did not answer within {timeout:g} s", "try again later")
                    raise _error(ended, is_write) from None

    def _listen(self) -> None:
        """Hands the answers out, until there are no more."""
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
            status = self._process.wait(END_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        # Its last words; what it started itself may keep them open.
        self._warner.join(1)
        if self._is_closing:
            failure = CLOSED
        if not failure:
            how = f"with exit status {status}" if status >= 0 else f"by signal {-status}"
            words = "".join(f"\n{line}" for line in self._last_lines)
            failure = ("internal", f"`whereby mcp` ended {how}{words}", "make a new WherebyComponent")
        with self._lock:
            self._ended = failure
            waiting = list(self._waiting.values())
        for answers in waiting:
            answers.put(None)

    def _take(self, line: bytes) -> tuple[str, str, str | None] | None:
        """Takes one message. What it returns is the last word."""
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        match message:
            case {"jsonrpc": "2.0", "id": number, "method": method}:
                self._asked(number, method, message.get("params"))
            case {"jsonrpc": "2.0", "method": _}:
                # A notification: of other tools, which are the same here whatever the policy says.
                pass
            case {"jsonrpc": "2.0", "id": int(number)}:
                with self._lock:
                    answers = self._waiting.get(number)
                # One that was cancelled may be answered all the same.
                if answers:
                    answers.put(message)
            case {"success": False, "error": {"kind": str(kind), "message": str(said), "hint": hint}}:
                # This is how the program with --json says that it cannot begin.
                return kind, said, hint
            case _:
                return "internal", "`whereby mcp` sent what is not JSON-RPC, and was ended", None
        return None

    def _asked(self, number: Any, method: Any, parameters: Any) -> None:
        """Answers a request of the program."""
        match method, parameters:
            case "elicitation/create", {"message": str(question)} if self._approver:
                # On a thread of its own, so that other calls go on.
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
            # Nothing but these two is an answer.
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
        """Passes on what the program says on standard error."""
        assert self._process.stderr, "it is a pipe"
        with self._process.stderr as lines:
            for line in lines:
                text = line.decode(errors="replace").rstrip()
                self._last_lines.append(text)
                LOG.warning("%s", text)


def _command(host: Host, word: str) -> list[str]:
    # With --json it also says in JSON why it cannot do it.
    command = [os.fspath(host.program), word, "--json"]
    if host.config is not None:
        # In one word, so that no value can be taken for another flag.
        command.append(f"--config={os.fspath(host.config)}")
    return command


def _chosen_account(host: Host) -> dict[str, str]:
    """The argument by which calls name the account, where there are several to choose from."""
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
            raise WherebyError("internal", "`whereby accounts` did not say which accounts there are")
    if host.account not in names:
        known = ", ".join(names) or "none"
        raise WherebyError("usage", f"no account is called `{host.account}`; those that are enabled: {known}")
    # Where there is one, the tools take no such argument.
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
            # Ctrl-C is for this process, which ends the other one.
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        hint = "install the program `whereby`, or name its path"
        raise WherebyError("configuration", f"{command[0]} cannot be started: {reason}", hint) from None


def _error(ended: tuple[str, str, str | None], may_have_happened: bool = False) -> WherebyError:
    kind, message, hint = ended
    error = BY_KIND.get(kind, WherebyError)
    if may_have_happened:
        return error(kind, message, "look whether it happened before trying again", "unknown")
    return error(kind, message, hint)
