"""Lies on the PYTHONPATH of a fleet's processes, so each imports it at its start: faults, as a test orders them.

They are ordered by files in the folder VITRINE_TEST_FAULTS (tests/fleet/test_faults.py):

    kills-workers     the sha256 of a photo: whichever process but the gateway reads its header dies by SIGKILL
    between-sends     the gateway dies by SIGKILL when it has sent a listing and not yet its photos; once
    disk-full         what is opened for writing in the photo store is a device that always is
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from hashlib import sha256
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

FAULTS = Path(os.environ.get("VITRINE_TEST_FAULTS", "nowhere"))  # processes that decode have no such variable
IS_GATEWAY = "services.gateway" in sys.orig_argv


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_by_photo(decoding: Any) -> None:
    opened = decoding.opened

    def deadly(body: bytes) -> Any:
        order = FAULTS / "kills-workers"
        if not IS_GATEWAY and order.exists() and sha256(body).hexdigest() == order.read_text():
            die()
        return opened(body)

    decoding.opened = deadly


def kill_between_sends(producer: Any) -> None:
    send = producer.Producer.send

    async def sent(self: Any, events: Sequence[Any]) -> None:
        await send(self, events)
        order = FAULTS / "between-sends"
        if IS_GATEWAY and events and events[0].topic.name == "listing.changed" and order.exists():
            order.unlink()
            die()

    producer.Producer.send = sent


def fill_disk() -> None:
    store, really_open = os.environ["VITRINE_PHOTO_STORE"], os.open

    def opened(path: Any, flags: int, *more: Any, **options: Any) -> int:
        # The store opens its folders by name, and files below them by descriptor.
        if flags & os.O_WRONLY and "dir_fd" in options and (FAULTS / "disk-full").exists():
            below = Path(f"/proc/self/fd/{options['dir_fd']}").readlink()
            if below.is_relative_to(store):
                return really_open("/dev/full", os.O_WRONLY)
        return really_open(path, flags, *more, **options)

    os.open = opened


class After(MetaPathFinder):
    """Has a module changed as soon as it is there, before anybody takes anything out of it."""

    def __init__(self, changes: dict[str, Callable[[Any], None]]) -> None:
        self._changes = changes

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        if (change := self._changes.pop(name, None)) is None or (spec := find_spec(name)) is None:
            return None
        assert spec.loader is not None
        spec.loader = Changing(spec.loader, change)
        return spec


class Changing(Loader):
    def __init__(self, loader: Loader, change: Callable[[Any], None]) -> None:
        self._loader = loader
        self._change = change

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._change(module)


sys.meta_path.insert(0, After({"shared.decoding": kill_by_photo, "shared.stream.producer": kill_between_sends}))
if IS_GATEWAY:
    fill_disk()
