"""Whereby rooms and meetings: one class, over the bare component or over the host program.

>>> from whereby import WherebyComponent, Host
>>> with WherebyComponent(Host("whereby")) as w:
...     w.list_rooms(limit=2)
"""

from whereby import errors, types
from whereby._bare import Bare
from whereby._component import WherebyComponent
from whereby._error import WherebyError
from whereby._host import Approver, Host

__all__ = ["Approver", "Bare", "Host", "WherebyComponent", "WherebyError", "errors", "types"]
