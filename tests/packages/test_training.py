"""Tests what profile-guided optimization is made with: the calls that are counted, and the build with counts.

Run it like test_packages.py.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import support

TRAIN = support.ROOT / "host" / "packages" / "train"


class Training(unittest.TestCase):
    def train(self, unless):
        """Trains a program that fails when its arguments match a pattern of the shell. Returns how the training went,
        and the arguments of each process."""
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder, "log")
            program = pathlib.Path(folder, "program")
            program.write_text(f'#!/bin/sh\necho "$*" >>{log}\n'
                               f'case "$*" in ({unless}) exit 1;; esac\nexec {support.WHEREBY} "$@"\n')
            program.chmod(0o755)
            trained = subprocess.run(
                [TRAIN, program], env={**os.environ, "WHEREBY_TRAINING_TIMES": "1"}, text=True, capture_output=True,
                check=False, timeout=support.PATIENCE)
            return trained, log.read_text()

    def test_every_function_is_called_as_a_process_in_scripts_and_over_mcp(self):
        trained, log = self.train(unless="never")
        self.assertEqual(trained.returncode, 0, trained.stderr)
        for function in json.loads(support.run(support.WHEREBY, "docs", "--json"))["functions"]:
            self.assertIn(f"whereby.{function['name']}(", log)
        for process in ("call list_rooms", "mcp\n", "mcp --listen", "guarded.wasm lua"):
            self.assertIn(process, log)

    def test_a_program_that_fails_is_not_trained(self):
        for command in ("lua*", "call*", "mcp", "mcp*--listen*", "component*", "--component*"):
            trained, _ = self.train(unless=command)
            self.assertNotEqual(trained.returncode, 0, command)

    def test_a_build_with_given_counts_uses_just_these_and_counts_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            cargo, log, counts = (pathlib.Path(folder, name) for name in ("cargo", "log", "counts.profdata"))
            counts.write_bytes(b"these")
            built = support.ROOT / "target/pgo" / support.TARGET / "dist"
            cargo.write_text(f'#!/bin/sh\nmkdir -p {built}\n'
                             f'{{ echo "$*"; cat "${{RUSTFLAGS#-Cprofile-use=}}"; }} >>{log}\n')
            cargo.chmod(0o755)
            program = support.run(support.ROOT / "host/packages/program", env={
                **os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PROFILE": str(counts)}).strip()
            self.assertRegex(log.read_text(), r"^build .* --profile dist .*\nthese$")
            self.assertEqual(pathlib.Path(program), built / "whereby")
            self.assertEqual((built / "whereby.profdata").read_bytes(), b"these")
