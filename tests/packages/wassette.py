"""Runs wassette, which needs a newer C library than some systems have."""

import pathlib
import re
import subprocess

import support

LIBRARIES = support.ROOT / "target" / "tools" / "wassette"
SOURCES = pathlib.Path("/etc/apt/sources.list.d/debian.sources")
# The first Debian whose C library is new enough.
SUITE = "trixie"


def command():
    """Returns the command that runs wassette."""
    program = support.installed("wassette_cli", "wassette")
    if subprocess.run([program, "--version"], capture_output=True, check=False).returncode == 0:
        return [str(program)]
    folder = LIBRARIES / "root" / "usr" / "lib" / "x86_64-linux-gnu"
    if not folder.exists():
        unpack_libraries()
    return [str(folder / "ld-linux-x86-64.so.2"), "--library-path", str(folder), str(program)]


def unpack_libraries():
    """Unpacks the C library of a newer Debian, with a package list of its own. The system stays as it is."""
    if not SOURCES.exists():
        raise RuntimeError("wassette needs glibc 2.39: this system's is older, and it is not a Debian with apt")
    for folder in ("lists/partial", "cache/archives/partial", "root"):
        (LIBRARIES / folder).mkdir(parents=True, exist_ok=True)
    mirror = re.search(r"^URIs: *(\S+)", SOURCES.read_text(), re.MULTILINE)[1]
    sources = LIBRARIES / "sources.list"
    sources.write_text(f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} {SUITE} main\n")
    options = [f"Dir::Etc::sourcelist={sources}", "Dir::Etc::sourceparts=-", f"Dir::State::lists={LIBRARIES}/lists",
               f"Dir::Cache={LIBRARIES}/cache", "APT::Sandbox::User=root", "Debug::NoLocking=true"]
    apt = ["apt-get", "-qq", *(word for option in options for word in ("-o", option))]
    subprocess.run([*apt, "update"], check=True)
    subprocess.run([*apt, "download", "libc6", "libgcc-s1"], check=True, cwd=LIBRARIES)
    # The last rename makes the folder appear whole.
    for package in LIBRARIES.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, LIBRARIES / "unpacked"], check=True)
    (LIBRARIES / "root").rmdir()
    (LIBRARIES / "unpacked").rename(LIBRARIES / "root")
