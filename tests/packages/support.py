"""What the tests of packages share: packages that are made once, and programs."""

import functools
import hashlib
import importlib.util
import io
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
DIST = ROOT / "target" / "dist"
# The program that is packaged.
WHEREBY = pathlib.Path(os.environ.get("WHEREBY", ROOT / "target" / "release" / "whereby")).resolve()
CARGO = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
VERSION = CARGO["version"]
TARGET = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split(
    "host: ")[1].split()[0]
PATIENCE = 300
KINDS = ["archive", "mcpb", "oci", "sbom", "registry"]
# What these kinds make.
MADE = ["whereby-agent-*.tar.gz", "whereby-agent-*.mcpb", "whereby-agent-*.wasm", "whereby-agent-*.policy.yaml",
        "whereby-agent-*.cdx.json", "server.json"]

# The tested programs are the packaged one, so tests need no other.
os.environ.setdefault("WHEREBY_BIN", str(WHEREBY))
sys.path[:0] = [str(ROOT / "tests" / "mcp"), str(ROOT / "tests" / "runtimes")]


def ended(*command, status=0, **options):
    """Runs a command that must end with this status."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, **options)
    if done.returncode != status:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def run(*command, **options):
    """Runs a command that must succeed, and returns its output."""
    return ended(*command, **options).stdout


def rebuild(kind, folder, files):
    """Builds a package once more, elsewhere, with the time that the files in a tar archive have."""
    dist = pathlib.Path(folder) / "dist"
    dist.mkdir()
    environment = {
        **os.environ, "WHEREBY": str(WHEREBY), "DIST": str(dist), "PREFIX": folder + "/prefix",
        "VERSION": VERSION, "REPOSITORY": CARGO["repository"], "LC_ALL": "C", "TZ": "UTC",
        "SOURCE_DATE_EPOCH": str(int(tarfile.open(fileobj=io.BytesIO(files)).next().mtime))}
    for script in ["prefix", f"{kind}/build"]:
        run(str(ROOT / "host" / "packages" / script), env=environment, umask=0o022)
    built, = dist.iterdir()
    return built


def package(*kinds):
    """Makes packages again, all of them."""
    run(ROOT / "host" / "package", *kinds, env={**os.environ, "WHEREBY": str(WHEREBY)})


def made(patterns):
    """Returns the packages with these names."""
    return [path for pattern in patterns for path in sorted(DIST.glob(pattern))]


def digests(patterns):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in made(patterns)}


def server_name():
    """Returns the server's name in the MCP registry."""
    return run(ROOT / "host/packages/registry/name", env={**os.environ, "REPOSITORY": CARGO["repository"]}).strip()


@functools.cache
def packaged():
    """Makes the packages once, and returns the folder that they are in."""
    package(*KINDS)
    return DIST


def installed(module, name):
    """Returns a program of a Python package, or the one in PATH."""
    if spec := importlib.util.find_spec(module):
        program = pathlib.Path(spec.origin).with_name(name)
        if not os.access(program, os.X_OK):
            # The wheel does not mark it as a regular file, so pip drops the execute permission.
            program.chmod(0o755)
        return program
    if found := shutil.which(name, path=os.environ["PATH"] + os.pathsep + os.path.dirname(sys.executable)):
        return pathlib.Path(found)
    raise RuntimeError(f"there is no {name}: install tests/packages/binaries.txt and "
                       "host/embed/wasmcloud/wash.txt with pip")
