"""The bare component in wasmtime-py, without the host and so without its guarantees."""

import asyncio
import json
import os
import pathlib
import re
import stat
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

import wasmtime
from wasmtime import component as wit
from wasmtime.component import _types as wasmtime_types

from whereby._bare import Bare
from whereby._error import WherebyError
from whereby._functions import FUNCTIONS, WIT_VERSION
from whereby._values import lift, lower
from whereby.errors import BY_KIND, HINTS

# The first bytes of a binary component: WebAssembly's magic number and the component version.
PREAMBLE = b"\0asm\x0d\x00\x01\x00"

# Errors after which a write may have happened. After all others, nothing was changed.
OPEN_ENDED = {"timeout", "unavailable", "unexpected-response", "component-fault"}

STATUS = {"unauthorized": 401, "access-denied": 403, "rate-limited": 429}


class BareRuntime:
    """A compiled component. Each call has its own store and instance."""

    def __init__(self, bare: Bare) -> None:
        path = os.fspath(bare.path)
        self._token = bare.access_token
        self._environment = _environment(bare)
        code = _read(path)
        try:
            self._engine = wasmtime.Engine(_config(bare.cache))
            self._component = wit.Component(self._engine, code)
            self._linker = wit.Linker(self._engine)
            self._linker.add_wasip2()
            self._linker.add_wasi_http()
            # This checks the imports now instead of in the first call.
            self._instantiate()
        except wasmtime.WasmtimeError as error:
            raise _configuration(f"{path} cannot be run: {_cause(error)}") from None
        self._functions = self._exports(path)

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        if name not in self._functions:
            raise _configuration(f"this component has no {name}, because it only reads")
        types = self._functions[name]
        lowered = [lower(of, arguments.get(parameter), parameter) for parameter, of in types.items()]
        try:
            store, instance = self._instantiate()
            interface = instance.get_export_index(store, _interface(name))
            index = instance.get_export_index(store, _label(name), interface)
            function = instance.get_func(store, index) if index else None
            assert function is not None, "the constructor has checked it"
            result = function(store, *lowered)
        except wasmtime.WasmtimeError as error:
            raise self._error(name, "component-fault", f"the component failed: {_cause(error)}") from None
        if isinstance(result, wit.Variant):
            raise self._returned(name, result.tag, lift(result.payload))
        return lift(result)

    async def call_async(self, name: str, arguments: dict[str, Any]) -> Any:
        return await asyncio.to_thread(self.call, name, arguments)

    def close(self) -> None:
        """Does nothing: the last reference frees everything, after the running calls."""

    def _instantiate(self) -> tuple[wasmtime.Store, wit.Instance]:
        store = wasmtime.Store(self._engine)
        wasi = wasmtime.WasiConfig()
        wasi.env = self._environment
        store.set_wasi(wasi)
        # Without this, the first use of HTTP aborts the process.
        store.set_wasi_http()
        return store, self._linker.instantiate(store, self._component)

    def _exports(self, path: str) -> dict[str, dict[str, wit.ValType]]:
        """Returns the types of each function's parameters, by their names in JSON."""
        interfaces = self._component.type.exports(self._engine)
        found: dict[str, dict[str, wit.ValType]] = {}
        for name, (effect, parameters) in FUNCTIONS.items():
            interface = interfaces.get(_interface(name))
            if interface is None and effect == "write" and found:
                # The reader has only functions that read.
                continue
            if interface is None:
                others = ", ".join(interfaces) or "nothing"
                raise _configuration(f"{path} does not export {_interface(name)}; it exports {others}")
            functions = interface.ty
            assert isinstance(functions, wit.ComponentInstanceType), "an interface is an instance"
            export = functions.exports(self._engine).get(_label(name))
            function = export.ty if export else None
            if not isinstance(function, wit.FuncType):
                raise _configuration(f"{path}: its {_interface(name)} has no {_label(name)}")
            takes = [label for label, _ in function.params]
            if takes != [_label(parameter) for parameter in parameters]:
                raise _configuration(f"{path}: its {_label(name)} takes {', '.join(takes) or 'nothing'}")
            found[name] = dict(zip(parameters, (of for _, of in function.params), strict=True))
        return found

    def _returned(self, name: str, case: str, payload: Any) -> WherebyError:
        """Returns the error that the component returned, with the host program's messages."""
        if case == "rate-limited":
            message = "the organization reached Whereby's rate limit"
            # In the WIT, 0 means that Whereby did not say.
            if payload == 0:
                return self._error(name, case, f"{message}; Whereby did not say for how long")
            return self._error(name, case, f"{message}; wait {payload} s", seconds=payload)
        if case == "rejected":
            status, text = payload["status"], payload["message"]
            reason = f": {text}" if text else " without giving a reason"
            return self._error(name, case, f"Whereby refused the request ({status}){reason}", status)
        return self._error(name, case, str(payload))

    def _error(
        self,
        name: str,
        kind: str,
        message: str,
        status: int | None = None,
        seconds: int | None = None,
    ) -> WherebyError:
        # Whereby, or a foreign component, may echo the key.
        if self._token:
            message = message.replace(self._token, "[hidden]")
        is_open = FUNCTIONS[name].effect == "write" and kind in OPEN_ENDED
        return BY_KIND.get(kind, WherebyError)(
            kind,
            message,
            hint="the change may have been made: check before trying again" if is_open else HINTS.get(kind),
            effect="unknown" if is_open else "none",
            http_status=status or STATUS.get(kind),
            retry_after_seconds=seconds,
        )


class _ClassesOfThread(threading.local):
    """A set of classes per thread."""

    def __init__(self) -> None:
        self._classes: set[type] = set()

    def clear(self) -> None:
        self._classes.clear()

    def add(self, member: type) -> None:
        self._classes.add(member)

    def __iter__(self) -> Iterator[type]:
        return iter(self._classes)


# wasmtime-py 50.0.1 checks an argument's class in a module-wide set, which concurrent calls would
# overwrite. Calls share nothing else.
wasmtime_types.case_test_cache = _ClassesOfThread()  # type: ignore[assignment]


def _interface(name: str) -> str:
    return f"whereby:agent/{FUNCTIONS[name].effect}@{WIT_VERSION}"


def _label(name: str) -> str:
    return name.replace("_", "-")


def _environment(bare: Bare) -> list[tuple[str, str]]:
    """Returns the component's environment."""
    given = [("WHEREBY_ACCESS_TOKEN", bare.access_token), ("WHEREBY_API_URL", bare.api_url)]
    for name, value in given:
        # C treats NUL as the end of a string; the others are invalid in a header or URL.
        if value is not None and not (isinstance(value, str) and value.isascii() and value.isprintable()):
            raise _configuration(f"{name.lower()} must be printable ASCII", None)
        if value == "":
            raise _configuration(f"{name.lower()} is empty", "omit it or pass None for none")
    rules = bare.permissions
    if rules is not None and not (isinstance(rules, str) and "\0" not in rules):
        raise _configuration("permissions must be TOML, without a null byte", None)
    given.append(("WHEREBY_PERMISSIONS", rules))
    if bare.participants not in (None, "names", "hidden"):
        raise _configuration('participants must be "names" or "hidden"', None)
    given.append(("WHEREBY_PARTICIPANTS", bare.participants))
    return [(name, value) for name, value in given if value is not None]


def _read(path: str) -> bytes:
    try:
        code = pathlib.Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise _configuration(f"{path} cannot be read: {reason}") from None
    # wasmtime-py would parse text as WebAssembly's text format.
    if not code.startswith(PREAMBLE):
        raise _configuration(f"{path} is not a WebAssembly component")
    return code


def _config(cache: str | os.PathLike[str] | None) -> wasmtime.Config:
    config = wasmtime.Config()
    if cache is None:
        return config
    directory = pathlib.Path(cache).absolute()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        raise _configuration(f"the cache {directory} cannot be used: {error.strerror}", None) from None
    if os.name == "posix" and (found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077):
        raise _configuration(
            f"the cache {directory} is not private, and anyone who can write to it can run code as you",
            f"run chmod 700 {directory}, or choose another directory",
        )
    with tempfile.TemporaryDirectory() as temporary:
        file = pathlib.Path(temporary, "cache.toml")
        # A JSON string is also a TOML string.
        file.write_text(f"[cache]\ndirectory = {json.dumps(str(directory))}\n", "utf-8")
        config.cache = str(file)
    return config


def _cause(error: wasmtime.WasmtimeError) -> str:
    """Returns the causes of an error, without wasmtime's numbers, headings and backtrace."""
    lines = [re.sub(r"^\s*(\d+:\s*)?", "", line) for line in str(error).splitlines()]
    return ": ".join(line for line in lines if line and not line.startswith("0x") and not line.endswith(":"))


def _configuration(
    message: str,
    hint: str | None = "`whereby component export FILE` writes the component for this package",
) -> WherebyError:
    return WherebyError("configuration", message, hint)
