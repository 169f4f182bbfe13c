"""Whereby rooms and meetings: one class, over the host program or over the bare component.

>>> from whereby import WherebyComponent, Host
>>> with WherebyComponent(Host()) as w:
...     w.list_rooms(limit=2)
"""

from whereby import errors, types
from whereby._bare import Bare
from whereby._component import AsyncWherebyComponent, WherebyComponent
from whereby._error import WherebyError
from whereby._host import Approver, Host

__all__ = [
    "Approver",
    "AsyncWherebyComponent",
    "Bare",
    "Host",
    "WherebyComponent",
    "WherebyError",
    "errors",
    "types",
]
