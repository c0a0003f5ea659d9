"""What the gateway bears of a client: uvicorn bounds the time of the idle, and not of those that dribble or crowd."""

import asyncio
from typing import Any

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from services.gateway.callers import subject_of

log = structlog.get_logger()

# Chunks of a body (RFC 9112, 7.1). Each costs as much as some kilobytes of one that comes whole, and could have one
# byte. Clients that stream send 4 KiB and more, with a few small ones for the form's headers.
_SMALL_CHUNKS = 1000
_CHUNK_BYTES = 1024

_TOO_MANY_CONNECTIONS = (
    b"Too many connections from your address. Close some, or keep them and send one after the other."
)
_CROWDED = (
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 5\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(_TOO_MANY_CONNECTIONS), _TOO_MANY_CONNECTIONS)
)


class CountedChunks(h11.Connection):
    """Refuses a body in crumbs. The first thousand may be small; then a chunk has a kilobyte on average."""

    why_refused: str | None = None
    _chunks = _bytes = 0

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = self._bytes = 0
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._bytes += len(event.data)
            if self._chunks > _SMALL_CHUNKS + self._bytes // _CHUNK_BYTES:
                self.why_refused = (
                    f"The body came in {self._chunks:,} chunks for {self._bytes:,} bytes. "
                    "Send chunks of some kilobytes, or a Content-Length."
                )
                raise h11.RemoteProtocolError(self.why_refused)
        return event


class Connection(H11Protocol):
    """Lets go of a client from whom no whole request head has come in time, or who doesn't take its answer in time.

    The time is uvicorn's timeout_keep_alive, counted from the connection's begin and from the end of each answer; bytes
    that come meanwhile don't lengthen it. While a request is being answered it stands still: the application bounds
    how long a body may take.

    With uvicorn's limit_concurrency, requests of more connections are answered 503. Half of it is what one caller may
    have open, and of all together none beyond twice as many is kept.
    """

    subject = ""
    _deadline: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = CountedChunks(h11.SERVER)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.subject = subject_of(self.client[0] if self.client else "")
        if self._is_one_too_many():
            transport.write(_CROWDED)
            transport.close()
        else:
            self._watch()

    def _is_one_too_many(self) -> bool:
        if self.limit_concurrency is None:
            return False
        of_caller = sum(isinstance(other, Connection) and other.subject == self.subject for other in self.connections)
        if crowded := of_caller > self.limit_concurrency // 2 or len(self.connections) > 2 * self.limit_concurrency:
            log.warning("refused a connection", caller=self.subject, of_caller=of_caller, open=len(self.connections))
        return crowded

    def send_400_response(self, msg: str) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(getattr(self.conn, "why_refused", None) or msg)
        else:  # it has its answer, or is being given it
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        self._watch()

    def on_response_complete(self) -> None:
        self._stop_watching()  # the time begins anew
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._watch()

    def _watch(self) -> None:
        """The clock runs while it is the client's turn."""
        idle = self.cycle is None or self.cycle.response_complete
        if not (idle or self.flow.write_paused) or self.transport.is_closing():
            self._stop_watching()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.timeout_keep_alive, self.transport.abort)

    def _stop_watching(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
