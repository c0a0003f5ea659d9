"""Decoding in a process that may die of it.

Decoders are written in C, and files come from strangers. A photo that is suspicious (shared/decoding.py says which are)
is decoded by a helper: a process that is told no secrets, with a bound on its memory and on its processor's time
(__main__.py). One that crashes or takes too long is replaced, and whoever asked is none the worse for it.
"""

import atexit
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from queue import LifoQueue
from typing import Any

import numpy as np
import structlog

from shared.errors import Transient
from shared.limits import DECODING_CPU_SECONDS, DECODING_HELPERS, DECODING_SECONDS, MAX_PHOTO_PIXELS
from shared.photos import Pixels

log = structlog.get_logger()
TRIES = 2  # whoever kills a helper from outside must not have a photo refused
START_SECONDS = 60.0
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH")  # of the environment, which has the keys to stores
_MOST_SAID, _MOST_ANSWERED = 64 * 1024, 3 * MAX_PHOTO_PIXELS  # bytes
Answer = tuple[Mapping[str, Any], bytes]


class Undecodable(ValueError):
    """A helper could not decode the photo, or died of it. The message says why."""


class Helpers:
    """So many processes at most, each started when it is first needed. For any number of threads."""

    def __init__(
        self,
        count: int = DECODING_HELPERS,
        cpu_seconds: float = DECODING_CPU_SECONDS,
        seconds: float = DECODING_SECONDS,
        program: Sequence[str] = ("-m", "shared.apart"),
    ) -> None:
        """Of a processor, and by the clock, for one photo. `program`: what Python is told to run."""
        self._cpu_seconds = cpu_seconds
        self._free: LifoQueue[_Helper] = LifoQueue()  # the one that was used last is in the caches
        for _ in range(count):
            self._free.put(_Helper([*program, str(cpu_seconds)], seconds))
        atexit.register(self.close)

    def decode(self, body: bytes, at_least: int | None, room: int, place: AbstractContextManager[None]) -> Pixels:
        """What shared.vision.decode makes of it, in `room` bytes of memory.

        `place` is entered once a helper is free: that memory in its process. Raises Undecodable, and Transient when no
        helper can be started.
        """
        said, pixels = self._ask({"what": "pixels", "at_least": at_least, "room": room}, body, place)
        height, width = said["shape"]
        return np.frombuffer(bytearray(pixels), np.uint8).reshape(height, width, 3)

    def decode_whole(self, body: bytes, room: int, place: AbstractContextManager[None]) -> int:
        """What shared.decoding.decode_whole says. Otherwise like `decode`."""
        said, _ = self._ask({"what": "whole", "room": room}, body, place)
        return int(said["unread"])

    def close(self) -> None:
        """Ends those that are idle; others end with this process."""
        while not self._free.empty():
            self._free.get().end()

    def _ask(self, question: Mapping[str, object], body: bytes, place: AbstractContextManager[None]) -> Answer:
        helper = self._free.get()
        try:
            with place:
                said, data = self._patiently(helper, question, body)
        finally:
            self._free.put(helper)
        if "error" in said:
            raise Undecodable(str(said["error"]))
        return said, data

    def _patiently(self, helper: "_Helper", question: Mapping[str, object], body: bytes) -> Answer:
        status = 0
        for _ in range(TRIES):
            try:
                return helper.ask(question, body)
            except _Died as why:
                status = why.status
            log.warning("a decoder died of a photo", status=status, sha256=hashlib.sha256(body).hexdigest())
            if status == -signal.SIGPROF:
                raise Undecodable(f"it takes more than {self._cpu_seconds:g} s of a processor")
        raise Undecodable(f"its decoder crashed, {TRIES} times, with status {status}")


class _Died(Exception):
    """With this status, as subprocess counts: a signal is negative."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Helper:
    """One process at a time, for one thread at a time."""

    def __init__(self, program: Sequence[str], seconds: float) -> None:
        self._program = program
        self._seconds = seconds
        self._running: tuple[subprocess.Popen[bytes], Connection] | None = None

    def ask(self, question: Mapping[str, object], body: bytes) -> Answer:
        """Raises _Died, Undecodable when the helper had to be ended, and Transient when it can't be started."""
        if self._running is None:
            try:
                self._running = self._started()
            except OSError as why:
                raise Transient(f"no process to decode in could be started: {why}") from why
        process, line = self._running
        overdue = threading.Event()

        def time_is_up() -> None:
            overdue.set()
            process.kill()

        clock = threading.Timer(self._seconds, time_is_up)
        clock.daemon = True
        clock.start()
        try:
            line.send_bytes(json.dumps(question).encode())
            line.send_bytes(body)
            # Never recv(): what a helper sends is not to be trusted with pickles.
            return json.loads(line.recv_bytes(_MOST_SAID)), line.recv_bytes(_MOST_ANSWERED)
        except BaseException as why:
            status = self.end()
            if overdue.is_set():
                raise Undecodable(f"it is not decoded within {self._seconds:g} s") from why
            if isinstance(why, EOFError | OSError):
                raise _Died(status) from why
            raise
        finally:
            clock.cancel()

    def end(self) -> int:
        """The status with which it ended, now or before."""
        if self._running is None:
            return 0
        process, line = self._running
        self._running = None
        line.close()
        process.kill()
        return process.wait()

    def _started(self) -> tuple[subprocess.Popen[bytes], Connection]:
        """Raises Transient, and OSError."""
        ours, theirs = socket.socketpair()
        told = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        told |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
        with theirs:
            line = Connection(ours.detach())
            command = [sys.executable, "-P", "-W", "ignore", *self._program, str(theirs.fileno())]
            # Without a start_new_session: whoever ends our process group ends it too.
            process = subprocess.Popen(
                command, env=told, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
        try:
            if not line.poll(START_SECONDS):
                raise EOFError
            line.recv_bytes()
        except (EOFError, OSError) as why:
            line.close()
            process.kill()
            raise Transient(f"a process to decode in ended with status {process.wait()} before it was asked") from why
        return process, line


HELPERS = Helpers()
