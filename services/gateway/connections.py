"""How long the gateway waits for a client: uvicorn bounds the time of the idle, and not of those that dribble."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """Lets go of a client from whom no whole request head has come in time, or who doesn't take its answer in time.

    The time is uvicorn's timeout_keep_alive, counted from the connection's begin and from the end of each answer; bytes
    that come meanwhile don't lengthen it. While a request is being answered it stands still: the application bounds
    how long a body may take.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

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
