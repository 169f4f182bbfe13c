"""Starts another runtime with the same component, for the benchmark.

    python3 peers.py wasmtime-py COMPONENT HOME
    python3 peers.py wassette COMPONENT HOME

WHEREBY_API_URL and WHEREBY_ACCESS_TOKEN name the API and the key. The first reads numbers, one in a line, makes
as many calls of list-rooms for 10 rooms, and prints a line. The second becomes wassette, an MCP server on standard input
and output. Either exits with status 3 if the runtime is not installed.
"""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
MISSING = 3


def run_wasmtime(component, _home):
    sys.path.insert(0, str(ROOT / "host" / "embed" / "python" / "src"))
    try:
        import wasmtime  # noqa: F401
        from whereby import Bare, WherebyComponent
    except ImportError:
        sys.exit(MISSING)
    bare = Bare(component, access_token=os.environ["WHEREBY_ACCESS_TOKEN"], api_url=os.environ["WHEREBY_API_URL"])
    with WherebyComponent(bare) as runtime:
        for line in sys.stdin:
            for _ in range(int(line)):
                assert len(runtime.list_rooms(limit=10)["data"]) == 10
            print("done", flush=True)


def run_wassette(component, home):
    sys.path.insert(0, str(ROOT / "tests" / "packages"))
    try:
        import wassette
        command = wassette.command()
    except (ImportError, RuntimeError):
        sys.exit(MISSING)
    environment = {"PATH": os.environ["PATH"], "HOME": home, "RUST_LOG": "off"}
    subprocess.run([*command, "component", "load", f"file://{component}"], env=environment, check=True,
                   capture_output=True)
    policy = (ROOT / "host" / "packages" / "oci" / "wassette.policy.yaml").read_text()
    folder = pathlib.Path(home, ".local", "share", "wassette", "components")
    (folder / f"{pathlib.Path(component).stem}.policy.yaml").write_text(policy.replace("api.whereby.dev", "127.0.0.1"))
    variables = [f"{name}={os.environ[name]}" for name in ("WHEREBY_API_URL", "WHEREBY_ACCESS_TOKEN")]
    options = [word for variable in variables for word in ("--env", variable)]
    os.execve(command[0], [*command, "run", "--disable-builtin-tools", *options], environment)


if __name__ == "__main__":
    runtime, component, home = sys.argv[1:]
    {"wasmtime-py": run_wasmtime, "wassette": run_wassette}[runtime](component, home)
