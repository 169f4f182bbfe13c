"""The settings of the bare component."""

import os
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Bare:
    """The component alone, in wasmtime-py (the extra `bare` of this package).

    The component has the key in its environment, and nothing limits its time, its memory or its requests.
    A guarded component (`whereby component export --guarded FILE`) keeps the key and the rules in its guard,
    which sends only the requests of the call. A call blocks its thread, even for Ctrl-C; the component ends it within
    20 seconds, a guarded one within 35.
    """

    # The file that `whereby component export FILE` writes.
    path: str | os.PathLike[str]
    # The organization's API key. Without one, requests have no authorization.
    access_token: str | None = field(default=None, repr=False)
    # The base URL of every request. Default: https://api.whereby.dev/v1.
    api_url: str | None = None
    # A directory for compiled code, so that the next process starts faster. It must be private: anyone
    # who can write to it can run code as you. It is created if missing. Default: no cache.
    cache: str | os.PathLike[str] | None = None
    # The rules of a guarded component, which denies writes without them: the TOML of `[permissions]` in a
    # configuration file. Other components ignore them.
    permissions: str | None = None
    # Whether a guarded component shows the people in meetings. Default: names. Other components ignore it.
    participants: Literal["names", "hidden"] | None = None
