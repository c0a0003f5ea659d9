"""A helper: decodes what it is sent until its line is closed. Started by shared/apart with the processor's seconds for
one photo and the number of its socket.
"""

import json
import resource
import signal
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from shared.decoding import UNREADABLE, decode_whole, opened
from shared.limits import DECODING_SECONDS
from shared.malloc import give_back_large_blocks
from shared.vision.decode import decode_here

Buffer = bytes | memoryview
# Beside what a photo was estimated to need: its bytes, twice while they come in, and what else is allocated meanwhile.
SLACK_BYTES = 96 * 1024 * 1024


def whole(body: bytes, _question: Mapping[str, Any]) -> tuple[Mapping[str, object], Buffer]:
    return {"unread": decode_whole(body, opened(body).image)}, b""


def pixels(body: bytes, question: Mapping[str, Any]) -> tuple[Mapping[str, object], Buffer]:
    made = decode_here(body, opened(body).image, question["at_least"])
    return {"shape": made.shape[:2]}, made.reshape(-1).data


# What is asked for to what is said and sent.
WHAT = {"whole": whole, "pixels": pixels}


def main() -> None:
    """Returns when nobody asks any more."""
    cpu_seconds, socket = float(sys.argv[-2]), int(sys.argv[-1])
    # Ctrl-C is for who asks: what was begun is still finished.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    give_back_large_blocks()
    with Connection(socket) as line:
        line.send_bytes(b"ready")
        while True:
            try:
                question, body = json.loads(line.recv_bytes()), line.recv_bytes()
                answer(line, question, body, cpu_seconds)
            except (EOFError, OSError):
                return


def answer(line: Connection, question: Mapping[str, Any], body: bytes, cpu_seconds: float) -> None:
    """What was asked for, or why there is none. Ends this process by SIGPROF when that takes too long."""
    bound_memory(question["room"])
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    # Who asked ends us sooner, unless it has died meanwhile.
    signal.alarm(2 * int(DECODING_SECONDS))
    try:
        said, data = WHAT[question["what"]](body, question)
    except UNREADABLE as why:
        said, data = {"error": str(why)[:1000] or type(why).__name__}, b""
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
    line.send_bytes(json.dumps(said).encode())
    line.send_bytes(data)


def bound_memory(room: int) -> None:
    """Beside what is there already. Linux counts heap and private mappings; others don't, and have no /proc either."""
    status = Path("/proc/self/status")
    if status.exists():
        held = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmData"))
        resource.setrlimit(resource.RLIMIT_DATA, (held * 1024 + room + SLACK_BYTES, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
