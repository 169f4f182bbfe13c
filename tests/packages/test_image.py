"""Loads the container image with podman, and runs it as the guide says.

Needs the image in target/dist (`host/package image`), and from Debian's packages: podman, runc, umoci.
Run it with: python -m unittest discover tests/packages
"""

import filecmp
import io
import json
import os
import pathlib
import subprocess
import tarfile
import tempfile
import unittest

from support import PATIENCE, ROOT, rebuild, run, server_name


# No machine's limits are above these, so that the runtime needs no privilege to set them.
LIMITS = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"]
# As in the guide, and no tmpfs, as Docker does it.
CONFINED = ["--rm", "--interactive", "--read-only", "--read-only-tmpfs=false", "--cap-drop=all",
            "--security-opt=no-new-privileges"]


def archive():
    found = list((ROOT / "target" / "dist").glob("whereby-agent-*.oci.tar"))
    if len(found) != 1:
        raise AssertionError(f"target/dist has {len(found)} images; run: host/package image")
    return found[0]


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # Images, containers and volumes of these tests alone.
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.podman = ["podman", "--root", folder.name + "/root", "--runroot", folder.name + "/run", "--storage-driver=vfs",
                      "--cgroup-manager=cgroupfs", "--runtime=runc"]
        cls.image = run(*cls.podman, "load", "--quiet", f"--input={archive()}").split()[-1]

    def podman_run(self, *arguments, options=(), **more):
        return subprocess.run(
            [*self.podman, "run", *CONFINED, *LIMITS, *options, self.image, *arguments],
            capture_output=True, text=True, timeout=PATIENCE, check=False, **more)

    def whereby(self, *arguments, **more):
        """Runs the program with a volume, on the network of this machine, where the simulator is."""
        options = ["--network=host", f"--volume={self.id().rsplit('.', 1)[1]}:/var/lib/whereby"]
        return self.podman_run(*arguments, options=options, **more)

    def simulator(self):
        process = subprocess.Popen([*self.podman, "run", *CONFINED, *LIMITS, "--network=host", self.image, "simulate"],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

        def stop():
            process.terminate()
            process.communicate(timeout=PATIENCE)
        self.addCleanup(stop)
        lines = [process.stdout.readline().strip() for _ in range(2)]
        return [line.split("=", 1)[1] for line in lines]

    def test_it_has_a_name_labels_and_a_user_without_privileges(self):
        self.assertRegex(self.image, r"\Alocalhost/whereby-agent:\d+\.\d+\.\d+\Z")
        version = self.image.rsplit(":", 1)[1]
        config = json.loads(run(*self.podman, "image", "inspect", self.image))[0]
        self.assertEqual(config["User"], "65532:65532")
        self.assertEqual(config["Config"]["Entrypoint"], ["/usr/bin/whereby"])
        labels = config["Labels"]
        self.assertEqual(labels["org.opencontainers.image.version"], version)
        self.assertEqual(labels["io.modelcontextprotocol.server.name"], server_name())
        for name in ["title", "description", "licenses", "source", "created"]:
            self.assertTrue(labels[f"org.opencontainers.image.{name}"], name)
        self.assertEqual(self.podman_run("--version").stdout, f"whereby {version}\n")

    def test_docker_can_load_the_same_archive(self):
        image = ["image", "inspect", "--format={{.Id}}"]
        loaded = run(*self.podman, *image, self.image)
        run(*self.podman, "rmi", self.image)
        run(*self.podman, "pull", "--quiet", f"docker-archive:{archive()}")
        self.assertEqual(run(*self.podman, *image, self.image), loaded)

    def test_it_has_the_program_and_its_libraries_and_nothing_else(self):
        layers = json.loads(run(*self.podman, "image", "inspect", self.image))[0]["RootFS"]["Layers"]
        self.assertEqual(len(layers), 1)
        with tarfile.open(archive()) as outer:
            blobs = [member for member in outer if member.isfile() and "/blobs/" in member.name]
            layer = max(blobs, key=lambda member: member.size)
            with tarfile.open(fileobj=io.BytesIO(outer.extractfile(layer).read())) as inner:
                members = inner.getmembers()
        programs = [member.name for member in members
                    if member.isfile() and member.mode & 0o111 and ".so" not in member.name]
        self.assertEqual(programs, ["./usr/bin/whereby"])
        for member in members:
            if not member.issym():
                self.assertFalse(member.mode & 0o6022, member.name)
            own = member.name == "./var/lib/whereby"
            self.assertEqual((member.uid, member.gid), (65532, 65532) if own else (0, 0), member.name)
        # What scanners read, and the licenses.
        names = {member.name for member in members}
        self.assertIn("./var/lib/dpkg/status.d/libc6", names)
        self.assertIn("./usr/share/doc/libc6/copyright", names)
        self.assertIn("./usr/share/doc/whereby-agent/LICENSE-MIT", names)

    def test_a_new_volume_keeps_the_key_and_the_audit_log(self):
        url, key = self.simulator()
        configured = self.whereby("configure", "--set", f"api_url={url}", "--token-stdin", input=key)
        self.assertEqual(configured.returncode, 0, configured.stderr)
        listed = self.whereby("call", "list_rooms", "--json")
        self.assertTrue(json.loads(listed.stdout)["data"]["data"], listed.stderr)
        self.assertEqual(listed.stderr, "")
        refused = self.whereby("call", "create_room", "--json")
        self.assertEqual(refused.returncode, 5, refused.stderr)
        calls = json.loads(self.whereby("audit", "--json").stdout)["audit"]
        self.assertEqual([call.get("function") for call in calls][-2:], ["list_rooms", "create_room"])

    def test_it_serves_a_client_over_standard_input(self):
        begin = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "client", "version": "1"}}}
        served = self.whereby("mcp", input=json.dumps(begin) + "\n")
        self.assertEqual(served.returncode, 0, served.stderr)
        answer = json.loads(served.stdout.splitlines()[0])
        self.assertEqual(answer["result"]["serverInfo"]["name"], "whereby")

    def test_without_a_volume_reads_work_and_writes_are_refused(self):
        url, key = self.simulator()
        options = ["--network=host", "--env=WHEREBY_API_URL", "--env=WHEREBY_ACCESS_TOKEN"]
        more = {"options": options,
                "env": {**os.environ, "WHEREBY_API_URL": url, "WHEREBY_ACCESS_TOKEN": key}}
        self.assertEqual(self.podman_run("call", "list_rooms", **more).returncode, 0)
        refused = self.podman_run("call", "create_room", "--force", **more)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("read-only", refused.stderr)

    def test_another_folder_gives_the_same_digest(self):
        with tempfile.TemporaryDirectory() as folder:
            built = rebuild("image", folder, archive().read_bytes())
            self.assertEqual(built.name, archive().name)
            self.assertTrue(filecmp.cmp(built, archive(), shallow=False))


if __name__ == "__main__":
    unittest.main()
