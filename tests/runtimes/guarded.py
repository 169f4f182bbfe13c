"""What the tests of guarded components share: rules, and a hostile component for the middle."""

import contextlib
import functools
import os
import socket
import subprocess
import threading

import program

# The rules of a guarded component, as in `[permissions]` of a configuration file.
ALLOW = 'write = "allow"\ndestination = "allow"'
BOTS = 'write = "deny"\n[functions.create_room]\npermission = "allow"\nrooms = ["bot-*"]\n'

END = "2099-01-01T00:00:00Z"


def attempts(other):
    """What the hostile component tries, with functions whose writes are allowed.

    Each has the function, its arguments, whether the call succeeds, and the requests that reach the API. `other` is
    the address of another server.
    """
    return [
        # They are told nothing, and do no harm.
        ("list_rooms", {"cursor": "environment"}, True, []),
        ("list_rooms", {"cursor": f"obedience {other}"}, True, ["GET"]),
        # Another server, another request, another call.
        ("list_rooms", {"cursor": f"other-server {other}"}, False, []),
        ("list_rooms", {"cursor": "host-keys"}, False, []),
        ("list_rooms", {"cursor": "create-in-read"}, False, []),
        ("list_rooms", {"cursor": "delete-what-was-listed"}, False, ["GET"]),
        # A refusal that the component keeps to itself.
        ("list_rooms", {"cursor": "swallowed-refusal"}, False, []),
        ("list_rooms", {"cursor": "set-authorization"}, False, []),
        ("get_room", {"room_name": "all-rooms"}, False, []),
        # Another room, the same one twice, and none at all.
        ("create_room", {"room_name_prefix": "create-under-another-name", "end_date": END}, False, []),
        ("create_room", {"room_name_prefix": "create-with-host-key", "end_date": END}, False, []),
        ("create_room", {"room_name_prefix": "create-twice", "end_date": END}, False, ["POST"]),
        ("create_room", {"room_name_prefix": "create-claimed-unsent", "end_date": END}, False, []),
        ("delete_room", {"room_name": "delete-without-looking"}, False, []),
        ("delete_room", {"room_name": "delete-all"}, False, []),
        ("delete_room", {"room_name": "delete-claimed-unsent"}, False, []),
    ]


@functools.cache
def hostile():
    """Builds the hostile component, and returns its file. WHEREBY_HOSTILE has the path of one that is built."""
    if given := os.environ.get("WHEREBY_HOSTILE"):
        return given
    target = program.ROOT / "target" / "hostile"
    subprocess.run(
        ["cargo", "build", "--quiet", "--locked", "--package", "whereby-hostile", "--lib", "--profile", "component",
         "--target", "wasm32-wasip2", "--target-dir", target], cwd=program.ROOT, check=True)
    return str(target / "wasm32-wasip2" / "component" / "whereby_hostile.wasm")


def export(file, *flags):
    """Writes a guarded component; with the flags of `whereby component export`."""
    subprocess.run([program.WHEREBY, "component", "export", "--guarded", file, *flags], check=True,
                   env={"PATH": os.environ["PATH"], "HOME": os.path.dirname(file)}, cwd=os.path.dirname(file),
                   stdout=subprocess.DEVNULL)


class Other:
    """A server that nothing may reach."""

    def __init__(self, add_cleanup):
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()
        add_cleanup(self.close)

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                self.listener.accept()[0].close()
                self.connections += 1

    def close(self):
        # `shutdown` wakes a thread in accept(); `close` does not.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
