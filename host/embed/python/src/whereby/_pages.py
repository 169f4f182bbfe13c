"""The pages of a function."""

from collections.abc import Mapping
from typing import Any

from whereby._functions import PAGE_LIMIT
from whereby.errors import HINTS, InvalidArgument, UnexpectedResponse


class Pages:
    """The position of an iterator."""

    def __init__(self, arguments: Mapping[str, object]) -> None:
        limit = arguments["limit"]
        # A boolean is an int, too.
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
            raise InvalidArgument("invalid-argument", "limit must be an integer of at least 1, or None")
        self._arguments = arguments
        self._left = limit
        self._cursor: str | None = None
        self._cursors: set[str] = set()
        self.is_complete = False

    def next_arguments(self) -> dict[str, object]:
        """Returns the arguments that get the next page."""
        limit = PAGE_LIMIT if self._left is None else min(self._left, PAGE_LIMIT)
        return {**self._arguments, "limit": limit, "cursor": self._cursor}

    def items(self, page: Any) -> list[Any]:
        """Returns the items of the next page."""
        items: list[Any] = page["data"][: self._left]
        if self._left is not None:
            self._left -= len(items)
        self._cursor = page["meta"]["nextCursor"]
        if self._cursor is None or self._left == 0:
            self.is_complete = True
        elif self._cursor in self._cursors:
            raise UnexpectedResponse(
                "unexpected-response",
                "the pages have no end: a nextCursor leads back to an earlier page",
                HINTS["unexpected-response"],
            )
        else:
            self._cursors.add(self._cursor)
        return items
