"""Tests the archive, the bill of materials, the registry's entry, and the checksums.

Needs a built program (`cargo build --release`, or its path in WHEREBY) and the packages of requirements.txt and
binaries.txt. Run it with: python -m unittest discover tests/packages
"""

import hashlib
import json
import os
import pathlib
import subprocess
import tarfile
import tempfile
import unittest

import jsonschema
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import support


class Packages(unittest.TestCase):
    def test_the_same_program_makes_the_same_bytes_and_all_of_them_have_checksums(self):
        support.packaged()
        name = f"whereby-agent-{support.VERSION}"
        first = support.digests(support.MADE)
        self.assertEqual(set(first), {
            "server.json", *(f"{name}-{support.TARGET}.{kind}" for kind in ("tar.gz", "mcpb", "cdx.json")),
            *(f"{name}{kind}.wasm" for kind in ("", "-reader", "-gateway", "-guarded", "-guarded-gateway")),
            *(f"{name}{kind}.policy.yaml" for kind in ("", "-reader", "-guarded"))})
        for path in support.made(support.MADE):
            path.unlink()
        # A package of an older version does not stay.
        old_package = support.DIST / f"whereby-agent-0.0.1-{support.TARGET}.tar.gz"
        old_package.touch()
        # Another time zone, umask, language and folder for temporary files.
        with tempfile.TemporaryDirectory() as folder:
            changed = {"TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8", "TMPDIR": folder}
            old = os.umask(0o077)
            before = {name: os.environ.get(name) for name in changed}
            os.environ.update(changed)
            try:
                support.package(*support.KINDS)
            finally:
                os.umask(old)
                for name, value in before.items():
                    os.environ.pop(name) if value is None else os.environ.update({name: value})
        self.assertEqual(support.digests(support.MADE), first)
        lines = (support.DIST / "SHA256SUMS").read_text().splitlines()
        sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
        self.assertEqual({name: sums.get(name) for name in first}, first)
        for name in first:
            self.assertEqual((support.DIST / name).stat().st_mode & 0o777, 0o644, name)

    def test_the_archive_has_the_program_and_its_files_in_one_folder(self):
        name = f"whereby-agent-{support.VERSION}-{support.TARGET}"
        with tarfile.open(support.packaged() / f"{name}.tar.gz") as archive:
            members = {it.name: it for it in archive}
        for it in members.values():
            self.assertTrue(it.isfile() or it.isdir(), it.name)
            self.assertEqual(it.name.split("/")[0], name)
            self.assertEqual((it.uid, it.gid, it.uname, it.gname, it.mode & 0o022), (0, 0, "", "", 0), it.name)
        for path, mode in [("bin/whereby", 0o755), ("share/man/man1/whereby-call.1", 0o644),
                           ("share/zsh/vendor-completions/_whereby", 0o644),
                           ("share/doc/whereby-agent/LICENSE-MIT", 0o644)]:
            self.assertEqual(members[f"{name}/{path}"].mode, mode, path)

    def test_the_program_in_the_archive_runs_from_any_folder(self):
        name = f"whereby-agent-{support.VERSION}-{support.TARGET}"
        with tempfile.TemporaryDirectory() as folder:
            with tarfile.open(support.packaged() / f"{name}.tar.gz") as archive:
                archive.extractall(folder, filter="data")
            ran = subprocess.run([pathlib.Path(folder, name, "bin", "whereby"), "demo"], cwd=folder, env={"HOME": folder},
                                 capture_output=True, text=True, check=False, timeout=support.PATIENCE)
        self.assertEqual(ran.returncode, 0, ran)

    def test_the_bill_of_materials_is_valid_and_complete(self):
        name = f"whereby-agent-{support.VERSION}-{support.TARGET}.cdx.json"
        text = (support.packaged() / name).read_text()
        self.assertIsNone(JsonStrictValidator(SchemaVersion.V1_6).validate_str(text))
        bom = json.loads(text)
        # Nothing of the machine, and nothing random.
        self.assertNotIn(str(support.ROOT), text)
        self.assertNotIn("serialNumber", bom)
        program = bom["metadata"]["component"]
        self.assertEqual((program["type"], program["version"]), ("application", support.VERSION))
        with tarfile.open(support.packaged() / name.replace(".cdx.json", ".tar.gz")) as archive:
            binary = archive.extractfile(name.replace(".cdx.json", "/bin/whereby")).read()
        self.assertEqual(program["hashes"][0]["content"], hashlib.sha256(binary).hexdigest())
        components = {it["name"]: it for it in bom["components"]}
        for crate in ["wasmtime", "rustls", "libsqlite3-sys", "mlua", "whereby-guest", "whereby-gateway"]:
            self.assertIn(crate, components)
        # Only what is in the program: neither what tests use nor what builds it.
        for crate in ["insta", "proptest", "whereby-hostile", "cc", "syn", "serde_derive"]:
            self.assertNotIn(crate, components)
        for it in bom["components"]:
            self.assertIn("licenses", it)
            if not it["name"].startswith("whereby-"):
                self.assertRegex(it["hashes"][0]["content"], "^[0-9a-f]{64}$", it["name"])
        refs = {program["bom-ref"], *(it["bom-ref"] for it in bom["components"])}
        edges = {it["ref"]: it["dependsOn"] for it in bom["dependencies"]}
        self.assertEqual(set(edges), refs)
        # Everything is reached from the program.
        reached, open_ = set(), [program["bom-ref"]]
        while open_:
            ref = open_.pop()
            if ref not in reached:
                reached.add(ref)
                open_ += edges[ref]
        self.assertEqual(reached, refs)

    def test_the_entry_of_the_registry_fits_its_schema_and_the_packages(self):
        entry = json.loads((support.packaged() / "server.json").read_text())
        schema = json.loads((support.ROOT / "host/packages/registry/schema/server.schema.json").read_text())
        jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker()).validate(entry)
        self.assertEqual(entry["$schema"], schema["$id"])
        self.assertEqual((entry["name"], entry["version"]), (support.server_name(), support.VERSION))
        packages = {it["registryType"]: it for it in entry["packages"]}
        self.assertEqual(list(packages), ["pypi", "npm", "oci", "mcpb"])
        for kind in ("pypi", "npm"):
            self.assertEqual((packages[kind]["identifier"], packages[kind]["version"]), ("whereby-agent", support.VERSION))
        image, tag = packages["oci"]["identifier"].rsplit(":", 1)
        self.assertEqual((image.rsplit("/", 1)[1], tag), ("whereby-agent", support.VERSION))
        for page in ("README.md", "docs/installing.md"):
            text = (support.ROOT / page).read_text()
            self.assertIn(f" {image} demo", text, page)
            # The components are beside it.
            self.assertIn(f"oci://{image}-component-guarded:{support.VERSION}", text, page)
        for kind in ("pypi", "npm", "oci"):
            [key] = packages[kind]["environmentVariables"]
            self.assertEqual((key["name"], key["isSecret"], key["isRequired"]), ("WHEREBY_ACCESS_TOKEN", True, False))
        bundle = packages["mcpb"]
        address, name = bundle["identifier"].rsplit("/", 1)
        self.assertEqual(address, f"{support.CARGO['repository']}/releases/download/v{support.VERSION}")
        self.assertEqual(bundle["fileSha256"], hashlib.sha256((support.DIST / name).read_bytes()).hexdigest())

    def test_the_entry_follows_the_address_of_the_repository(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([support.ROOT / "host/packages/registry/build"], check=True, env={
                "PATH": os.environ["PATH"], "DIST": folder, "VERSION": "1.2.3",
                "REPOSITORY": "https://github.com/Somebody/whereby"})
            entry = json.loads(pathlib.Path(folder, "server.json").read_text())
        self.assertEqual(entry["name"], "io.github.Somebody/whereby-agent")
        self.assertEqual(entry["repository"], {"url": "https://github.com/Somebody/whereby", "source": "github"})
        # Names of images have no upper case.
        self.assertIn("ghcr.io/somebody/whereby-agent:1.2.3", [it["identifier"] for it in entry["packages"]])


if __name__ == "__main__":
    unittest.main()
