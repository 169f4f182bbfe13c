"""The base class of all errors."""

from typing import Literal

# Whether a failed call wrote something.
Effect = Literal["none", "unknown", "done"]


class WherebyError(Exception):
    """A failed call, or an unusable runtime."""

    def __init__(
        self,
        kind: str,
        message: str,
        hint: str | None = None,
        effect: Effect = "none",
        http_status: int | None = None,
        retry_after_seconds: int | None = None,
        approval_id: str | None = None,
    ) -> None:
        # Pickle passes all of them back to this constructor.
        super().__init__(kind, message, hint, effect, http_status, retry_after_seconds, approval_id)
        # A case of the WIT's `error`, or one of: usage, configuration, denied, approval-required,
        # component-fault, internal.
        self.kind = kind
        # What happened.
        self.message = message
        # What to do about it.
        self.hint = hint
        # Whether a write happened: `none`, `unknown` or `done`.
        self.effect = effect
        # The status of Whereby's response, if it refused the request.
        self.http_status = http_status
        # The seconds to wait before trying again.
        self.retry_after_seconds = retry_after_seconds
        # The id with which a person approves the call.
        self.approval_id = approval_id

    def __str__(self) -> str:
        effect = {
            "none": "",
            "unknown": "\nIt is not known whether anything was changed.",
            "done": "\nThe change itself was made.",
        }[self.effect]
        hint = f"\nhint: {self.hint}" if self.hint else ""
        return f"{self.kind}: {self.message}{effect}{hint}"
