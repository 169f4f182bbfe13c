"""The classes that users call."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from whereby._bare import Bare
from whereby._error import WherebyError
from whereby._functions import AsyncFunctions, Functions
from whereby._host import CLOSED, Host, HostRuntime
from whereby._pages import Pages
from whereby.errors import InvalidArgument

# The maximum size of a call's arguments, as JSON, in bytes; the same as in the host program.
MAX_ARGUMENTS_BYTES = 64 * 1024


class Runtime(Protocol):
    """Makes calls."""

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """Calls a function by its name, with arguments in their JSON form."""

    async def call_async(self, name: str, arguments: dict[str, Any]) -> Any:
        """Does the same while the event loop runs."""

    def close(self) -> None:
        """Ends the runtime."""


class WherebyComponent(Functions):
    """The functions, in the runtime that the constructor names.

    Results are JSON: members in camelCase, every member present, null as None. A call that fails
    raises `WherebyError`.

    Threads may share one. Their calls run in parallel, each in its own instance. Closing it lets running
    calls of a `Bare` finish, and ends those of a `Host`.
    """

    def __init__(self, runtime: Bare | Host) -> None:
        """Prepares the runtime: compiles the component, or starts the program.

        Raises:
            WherebyError: `configuration` if that fails.
        """
        self._chosen = runtime
        self._runtime = _start(runtime)
        self._is_closed = False

    def close(self) -> None:
        """Ends the runtime. Closing twice is allowed."""
        self._is_closed = True
        self._runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"WherebyComponent({self._chosen!r})"

    def _call(self, name: str, arguments: Mapping[str, object]) -> Any:
        if self._is_closed:
            raise WherebyError(*CLOSED)
        return self._runtime.call(name, _normal(arguments))

    def _iterate(self, name: str, arguments: Mapping[str, object]) -> Iterator[Any]:
        pages = Pages(arguments)
        while not pages.is_complete:
            yield from pages.items(self._call(name, pages.next_arguments()))


class AsyncWherebyComponent(AsyncFunctions):
    """The functions as coroutines, in the runtime that the constructor names.

    `async with` starts and ends the runtime. Tasks may share one: their calls run in parallel. Cancelling
    a task cancels its call; a write may have been sent. A call of a `Bare` runs in a thread, which goes on
    until the call ends.
    """

    def __init__(self, runtime: Bare | Host) -> None:
        self._chosen = runtime
        self._runtime: Runtime | None = None
        self._is_closed = False

    async def aclose(self) -> None:
        """Ends the runtime. Closing twice is allowed."""
        self._is_closed = True
        if self._runtime:
            await asyncio.to_thread(self._runtime.close)

    async def __aenter__(self) -> Self:
        """Prepares the runtime: compiles the component, or starts the program.

        Raises:
            WherebyError: `configuration` if that fails.
        """
        if self._runtime or self._is_closed:
            raise WherebyError("usage", "this component was opened before", "open a new one")
        self._runtime = await asyncio.to_thread(_start, self._chosen)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncWherebyComponent({self._chosen!r})"

    async def _call(self, name: str, arguments: Mapping[str, object]) -> Any:
        if self._is_closed:
            raise WherebyError(*CLOSED)
        if not self._runtime:
            raise WherebyError("usage", "this component is not open", "open it with `async with`")
        return await self._runtime.call_async(name, _normal(arguments))

    async def _iterate(self, name: str, arguments: Mapping[str, object]) -> AsyncIterator[Any]:
        pages = Pages(arguments)
        while not pages.is_complete:
            for item in pages.items(await self._call(name, pages.next_arguments())):
                yield item


def _start(runtime: Bare | Host) -> Runtime:
    match runtime:
        case Host():
            return HostRuntime(runtime)
        case Bare():
            try:
                # Only the bare component needs the extra.
                from whereby._wasmtime import BareRuntime
            except ModuleNotFoundError as error:
                raise WherebyError(
                    "configuration", str(error), "install this package with its extra `bare`"
                ) from None
            return BareRuntime(runtime)
        case _:
            raise TypeError("the runtime must be a Bare or a Host")


def _normal(arguments: Mapping[str, object]) -> dict[str, Any]:
    """Returns the arguments in their JSON form, without nulls."""
    normal: dict[str, Any] = {}
    size = 0
    for name, value in arguments.items():
        if value is None:
            continue
        try:
            encoded = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        # In order: a type that JSON lacks; NaN, a cycle or an unpaired surrogate; too much nesting.
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidArgument("invalid-argument", f"{name} is not JSON: {error}") from None
        size += len(name) + len(encoded)
        normal[name] = json.loads(encoded)
    if size > MAX_ARGUMENTS_BYTES:
        raise InvalidArgument(
            "invalid-argument",
            f"the arguments have {size} bytes; at most {MAX_ARGUMENTS_BYTES} are allowed",
        )
    return normal
