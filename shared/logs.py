"""Structured logs on stderr: JSON lines, or coloured ones on a terminal, each with its trace id."""

import logging
import re
import sys
import time
import warnings
from collections.abc import Callable

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from shared.text import plain, plain_lines
from shared.tracing import current_trace_id

# Have several lines of their own.
_TRACEBACKS = ("exception", "stack")


def start_logging(service: str, level: str = "INFO") -> None:
    """Once per process, at the edge. The standard library's loggers come out the same way."""
    shared: list[Processor] = [
        lambda _logger, _method, event: {"service": service, **event},
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        _trace_id,
    ]
    # JSON escapes whatever isn't ASCII.
    render: list[Processor] = (
        [_shown, structlog.dev.ConsoleRenderer()] if sys.stderr.isatty() else [structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                *render,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Pillow warns of every odd tag of a photo's EXIF block, and a stranger's photo can have thousands.
    warnings.filterwarnings("ignore", category=UserWarning, module="PIL")


class OncePer(logging.Filter):
    """Lets a line through that it hasn't let through for so long; lines that differ in numbers only are the same."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds = seconds
        self._clock = clock
        self._passed: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        self._passed = {line: at for line, at in self._passed.items() if now - at < self._seconds}
        return self._passed.setdefault(re.sub(r"\d+", "", record.getMessage()), now) == now


# Handed to each Kafka client: left to itself librdkafka writes its own lines to stderr, between ours, which are JSON.
LIBRDKAFKA = logging.getLogger("librdkafka")
# While a broker is away it says so ten times a second.
LIBRDKAFKA.addFilter(OncePer(60.0))


def _trace_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if trace_id := current_trace_id():
        event["trace_id"] = trace_id
    return event


def _shown(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """On a terminal nobody's text does anything; what is no text is written as Python would, which is as safe."""
    return {
        plain(name): (plain_lines if name in _TRACEBACKS else plain)(value) if isinstance(value, str) else value
        for name, value in event.items()
    }
