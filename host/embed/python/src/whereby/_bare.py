"""What the bare component needs to run."""

import os
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Bare:
    """The component by itself, under wasmtime-py (the extra `bare` of this package).

    The component has the key in its environment, and nothing limits its time, its memory or what it
    sends. A call blocks its thread, also for Ctrl-C; the component ends it within 20 seconds.
    """

    # The file that `whereby component export FILE` writes.
    path: str | os.PathLike[str]
    # The organization's API key. Without one, requests carry no authorization.
    access_token: str | None = field(default=None, repr=False)
    # The base of every request. Default: https://api.whereby.dev/v1.
    api_url: str | None = None
    # A directory, yours alone, that keeps compiled code for the next process. Whoever can write in
    # it can run code as you. It is made where it is missing. Default: nothing is kept.
    cache: str | os.PathLike[str] | None = None
