"""Builds the images of the Dockerfile without Docker, and runs processes in them: buildah in a chroot."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.bare import make_root, reach_variables
from tests.manifests import ROOT, tool

# In the place of the official image that the Dockerfile builds on, whose registry can't be reached everywhere.
DEBIAN = "localhost/debian-with-python"
BUILD_SECONDS = 900


class Images:
    """A storage of images of its own, in a folder. Needs root."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._buildah = tool("buildah", "buildah")

    def import_python(self) -> None:
        """A Debian with the Python that the official image has."""
        root = self._folder / "python"
        make_root(root, "python3", "python3-venv", "python3-pip")
        (root / "usr/local/bin/python3.11").symlink_to("/usr/bin/python3.11")
        container = self._said("from", "scratch")
        self._said("add", "--quiet", container, str(root), "/")
        reach = [f"--env={name}={value}" for name, value in reach_variables().items()]
        self._said("config", *reach, container)
        self._said("commit", "--quiet", "--rm", container, DEBIAN)

    def build(self, target: str) -> None:
        base = f"--build-arg=PYTHON={DEBIAN}"
        self._said("bud", "--pull=never", "--network=host", base, f"--target={target}", f"--tag={target}", str(ROOT))

    @contextmanager
    def container(self, image: str) -> Iterator[str]:
        name = self._said("from", "--pull-never", image)
        try:
            yield name
        finally:
            self._said("rm", name)

    @contextmanager
    def running(self, container: str, log: Path, *command: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
        """A process as the image's user, on this machine's network, until the block is left."""
        env = [f"--env={name}={value}" for name, value in variables.items()]
        argv = self._argv("run", "--network=host", *env, container, "--", *command)
        with log.open("wb") as out, subprocess.Popen(argv, env=self._env, stdout=out, stderr=out) as process:
            try:
                yield process
            finally:
                process.terminate()
                process.wait(60)

    def run(self, container: str, *command: str) -> str:
        return self._said("run", "--network=host", container, "--", *command)

    def bytes_of(self, container: str) -> int:
        """The bytes of all files in it, the base image's too."""
        root = self._said("mount", container)
        counted = subprocess.run(["du", "-sxB1", root], check=True, capture_output=True, text=True, timeout=120)
        self._said("umount", container)
        return int(counted.stdout.split()[0])

    @property
    def _env(self) -> dict[str, str]:
        return {**os.environ, "BUILDAH_ISOLATION": "chroot"}

    def _argv(self, *command: str) -> list[str]:
        storage = (f"--root={self._folder}/storage", f"--runroot={self._folder}/run", "--storage-driver=vfs")
        return [self._buildah, *storage, *command]

    def _said(self, *command: str) -> str:
        """The last line of what it prints. Raises AssertionError with all of it when it fails."""
        argv = self._argv(*command)
        done = subprocess.run(argv, env=self._env, capture_output=True, text=True, timeout=BUILD_SECONDS)
        assert done.returncode == 0, f"{command}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return (done.stdout.strip().splitlines() or [""])[-1]
