"""How a process is told to stop."""

import asyncio
import signal
from collections.abc import Callable


def on_stop(call: Callable[[], object]) -> None:
    """What SIGTERM and SIGINT do from here on. As the first process of a container they would do nothing unbidden."""
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, call)
