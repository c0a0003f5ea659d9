"""Starts child processes that cannot outlive us, and ends them."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

# Below the range from which the kernel takes the ports of outgoing connections: nobody else grabs one
# between our choosing it and the child's listening on it.
_PORTS = range(20000, 32000)
_PR_SET_PDEATHSIG = 1


def spawn(
    argv: Sequence[str],
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    when_orphaned: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Starts `argv` in a session of its own, its output appended to `log`; on Linux it ends when we do, however we end.

    Call it from a thread that lives as long as the child should: Linux signals when the thread that forked has ended.
    A session of its own, so that Ctrl-C reaches only us and we decide the order in which the children end.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    # A tiny program of our own instead of preexec_fn, which may deadlock in a process with threads (gRPC, librdkafka).
    leash = [sys.executable, "-I", "-S", str(Path(__file__)), str(os.getpid()), str(int(when_orphaned))]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*leash, *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes], grace_seconds: float) -> int:
    """SIGTERM, a time to finish, then SIGKILL for its whole process group. Returns the exit status."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        kill(process)
    return process.wait()


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the process and whatever it started; nothing when it has ended."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def last_lines(log: Path, count: int = 10, tail_bytes: int = 16_384) -> str:
    """The last lines of a log that say something; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - tail_bytes))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join([line.rstrip() for line in lines if line.strip()][-count:])


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    random = Random()
    for _ in range(200):
        port = random.choice(_PORTS)
        if is_free(port):
            return port
    raise OSError(f"no free port between {_PORTS.start} and {_PORTS.stop}")


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on the port now. Connections that linger after a server's end do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody listens on the port."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def resident_bytes(pid: int) -> int:
    """The memory that a process holds, in bytes; 0 when it has ended or the system does not say (no /proc)."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _become(parent: int, when_orphaned: int, argv: list[str]) -> None:
    """The child's first act: asks to be signalled when the parent ends, then becomes `argv`."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, when_orphaned, 0, 0, 0)
        if os.getppid() != parent:  # it ended before we could ask
            sys.exit(1)
    try:
        os.execvp(argv[0], argv)
    except OSError as why:
        print(f"cannot start {argv[0]}: {why.strerror}", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__":
    _become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
