"""The edge of everything that is said over gRPC: one kind of server, one kind of channel.

`GrpcServer` has health, reflection, a connection's age, a bound on what callers may have under way, and for each call a
deadline, the caller's trace, a metric, and a status that helps. `channel` spreads calls over a service's pods and sends
the trace along. Both take a photo.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc import aio
from grpc_health.v1 import health as grpc_health
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from shared.errors import CannotListen, Transient
from shared.limits import MAX_MESSAGE_BYTES
from shared.metrics import RPC_SECONDS
from shared.room import Room
from shared.tracing import current_traceparent, extracted, tracer

log = structlog.get_logger()

# A client keeps its connections for as long as they live, and so would never hear of new pods. gRPC spreads this by a
# tenth, so that not all come back at once.
MAX_AGE_SECONDS = 60.0
# Of a connection that has reached its age: calls under way on it may take so long.
AGE_GRACE_SECONDS = 30.0
# gRPC would wait up to two minutes before it looks again for a server that was away.
RECONNECT_SECONDS = 2.0

_MESSAGES = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
)

# A message without a photo, at most: of the questions to our services the longest names 200 sellers.
MAX_QUESTION_BYTES = 256 * 1024

Context: TypeAlias = "aio.ServicerContext[Any, Any]"
Call = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]
Read = Callable[[], Awaitable[Any]]  # a call's next message, in bytes, or aio.EOF
# Is shown the method and each message before it is parsed; raises Refusal, and DecodeError for what is no message.
Check = Callable[[str, bytes], None]
Parse = Callable[[bytes], Any]


class Refusal(Exception):
    """An answer other than OK. The message says what to do."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message


def unchecked(_method: str, _message: bytes) -> None:
    """The Check that finds nothing wrong."""


def deadline_passed(context: Context) -> bool:
    """Whether nobody waits for the answer any more, because its time is up. Who hung up has time left."""
    return (left := context.time_remaining()) is not None and left <= 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What callers may have under way in one server. Who comes beyond `calls` is refused; for bytes calls wait."""

    calls: int = 64
    # Of messages to methods that take a photo: one of the largest at least. While it is parsed and passed on a process
    # has each photo up to seven times.
    photo_bytes: int = 2 * MAX_MESSAGE_BYTES
    arrival_seconds: float = 10.0  # for a message with a photo, once it is its turn
    question_seconds: float = 2.0  # for any other: it lies in the packet that its call came in
    seconds: float = 30.0  # for a call, its wait in line included, whatever deadline it brings beyond that


class Admission:
    """Lets calls in, as many as the bounds allow, and only then reads their messages.

    How large a message is gRPC tells nobody before it is there. So for each the most is held until then.
    """

    def __init__(self, bounds: Bounds, takes_photo: Collection[str]) -> None:
        """`takes_photo` has names of methods."""
        self._most = self._free = bounds.calls
        self._takes_photo = takes_photo
        self._arrival_seconds = bounds.arrival_seconds
        self._question_seconds = min(bounds.question_seconds, bounds.arrival_seconds)
        self._photos = Room(bounds.photo_bytes)
        # Apart from photos, which may take seconds to arrive: a question lies in the packet that its call came in.
        self._questions = Room(3 * MAX_MESSAGE_BYTES)

    @contextmanager
    def call(self) -> Iterator[None]:
        """Raises Refusal."""
        if not self._free:
            raise Refusal(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{self._most} calls are under way, which is the most; repeat it in a second",
            )
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1

    @asynccontextmanager
    async def request(self, method: str, read: Read, parse: Parse) -> AsyncIterator[Any]:
        """The call's only message, waited for in line, parsed. Raises Refusal."""
        photo = method in self._takes_photo
        async with (self._photos if photo else self._questions).held(MAX_MESSAGE_BYTES) as held:
            most, seconds = (
                (MAX_MESSAGE_BYTES, self._arrival_seconds) if photo else (MAX_QUESTION_BYTES, self._question_seconds)
            )
            request, size = await self._received(read, most, seconds, parse)
            held.shrink(size)
            yield request

    async def _received(self, read: Read, most: int, seconds: float, parse: Parse) -> tuple[Any, int]:
        """The request, and how large its message was, which is let go of here."""
        # Not from the stream's iterator, which would keep the message until it is collected as garbage.
        try:
            async with asyncio.timeout(seconds):
                message = await read()
        except TimeoutError as why:
            late = f"the request had not arrived after {seconds:g} s, and others wait in line"
            raise Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, late) from why
        if message is aio.EOF:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "the call has no message")
        if len(message) > most:
            raise too_long(len(message))
        try:
            return parse(message), len(message)
        except DecodeError as why:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"the request can't be read: {why}") from why


def too_long(size: int) -> Refusal:
    """For a message with so many bytes beside a photo."""
    return Refusal(
        grpc.StatusCode.INVALID_ARGUMENT,
        f"the request has {size:,} bytes beside a photo, where at most {MAX_QUESTION_BYTES:,} are read: shorten its "
        "texts and lists",
    )


class GrpcServer:
    """Serves one service from `start` to `stop`; says that it is not healthy until it is told that it is."""

    def __init__(
        self,
        service: str,
        add: Callable[[aio.Server], object],
        *,
        bounds: Bounds,
        takes_photo: Collection[str] = (),
        check: Check = unchecked,
        max_age_seconds: float = MAX_AGE_SECONDS,
    ) -> None:
        """`add` adds the servicer of `service`; `takes_photo` names those of its methods that are sent one."""
        self._service = service
        self._health = grpc_health.aio.HealthServicer()
        self._server = aio.server(
            interceptors=[_Watched(service, bounds.seconds, Admission(bounds, takes_photo), check)],
            options=[
                *_MESSAGES,
                ("grpc.max_connection_age_ms", int(max_age_seconds * 1000)),
                ("grpc.max_connection_age_grace_ms", int(AGE_GRACE_SECONDS * 1000)),
                # Else a second server could listen on the same port, and take half of the calls.
                ("grpc.so_reuseport", 0),
                # Else a connection's window grows, and megabytes of messages come in that nobody has asked for yet.
                ("grpc.http2.bdp_probe", 0),
            ],
        )
        add(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection([service, grpc_health.SERVICE_NAME, reflection.SERVICE_NAME], self._server)

    async def start(self, host: str, port: int) -> int:
        """Returns the port, useful when 0 was asked for any free one. Raises CannotListen."""
        try:
            bound = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as why:
            raise CannotListen(host, port, why) from why
        await self.healthy(False)
        await self._server.start()
        return bound

    async def healthy(self, yes: bool) -> None:
        """What gRPC's own health checks are answered from here on."""
        answers = health_pb2.HealthCheckResponse
        for name in ("", self._service):
            await self._health.set(name, answers.SERVING if yes else answers.NOT_SERVING)

    async def stop(self, grace_seconds: float, drain_seconds: float = 0.0) -> None:
        """Says that it goes, takes calls for `drain_seconds` all the same, then lets those under way finish."""
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(drain_seconds)
        await self._server.stop(grace_seconds)


class _Watched(aio.ServerInterceptor):
    """Times each call of our service, continues its trace, and turns what it raised into a status that helps."""

    def __init__(self, service: str, seconds: float, admission: Admission, check: Check) -> None:
        self._service = service
        self._seconds = seconds
        self._admission = admission
        self._check = check

    async def intercept_service(self, continuation: Call, handler_call_details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(handler_call_details)
        service, _, method = handler_call_details.method.strip("/").partition("/")
        if handler is None or service != self._service:
            return handler

        async def watched(_messages: object, context: Context) -> Any:
            started = time.perf_counter()
            # What is left when nobody sets another: the caller hung up.
            code, details, response = grpc.StatusCode.CANCELLED, "", None
            try:
                with tracer.start_as_current_span(method, context=extracted(_trace_headers(context))):
                    code, details, response = await self._answer(self._admitted(method, handler, context))
            except asyncio.CancelledError:
                if deadline_passed(context):
                    code = grpc.StatusCode.DEADLINE_EXCEEDED
                raise
            finally:
                RPC_SECONDS.labels(method, code.name).observe(time.perf_counter() - started)
            if code != grpc.StatusCode.OK:
                await context.abort(code, details)
            return response

        # As a stream, of which no message is read before we ask for it; on the wire it is the same.
        return grpc.stream_unary_rpc_method_handler(watched, None, handler.response_serializer)

    async def _admitted(self, method: str, handler: Any, context: Context) -> Any:
        def parse(message: bytes) -> Any:
            self._check(method, message)
            return handler.request_deserializer(message)

        with self._admission.call():
            async with self._admission.request(method, context.read, parse) as request:
                return await handler.unary_unary(request, context)

    async def _answer(self, call: Awaitable[Any]) -> tuple[grpc.StatusCode, str, Any]:
        try:
            # gRPC cancels us at the caller's deadline, where that is sooner.
            async with asyncio.timeout(self._seconds):
                return grpc.StatusCode.OK, "", await call
        except Refusal as why:
            return why.code, why.message, None
        except TimeoutError:
            return grpc.StatusCode.DEADLINE_EXCEEDED, f"not answered within {self._seconds} s", None
        except Transient as why:
            return grpc.StatusCode.UNAVAILABLE, f"{why}; try again", None
        except Exception:
            log.exception("call failed")
            return grpc.StatusCode.INTERNAL, "a bug of ours: the server's log has the details", None


def _trace_headers(context: Context) -> dict[str, bytes]:
    return {
        key: value if isinstance(value, bytes) else value.encode()
        for key, value in context.invocation_metadata() or ()
        if key in ("traceparent", "tracestate")
    }


def channel(address: str, *, attempts: int = 1) -> aio.Channel:
    """To a service at host:port, of which there may be several pods. Connects with the first call.

    With more than one attempt a call is made again while the service is UNAVAILABLE: for who would rather wait.
    """
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if attempts > 1:
        again = {"initialBackoff": "0.5s", "maxBackoff": "5s", "backoffMultiplier": 2}
        policy = {**again, "maxAttempts": attempts, "retryableStatusCodes": ["UNAVAILABLE"]}
        config["methodConfig"] = [{"name": [{}], "retryPolicy": policy}]
    options = [
        *_MESSAGES,
        ("grpc.service_config", json.dumps(config)),
        ("grpc.max_reconnect_backoff_ms", int(RECONNECT_SECONDS * 1000)),
    ]
    return aio.insecure_channel(address, options=options, interceptors=[_Traced()])


class _Traced(aio.UnaryUnaryClientInterceptor):
    """Sends the current span's traceparent along."""

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        if traceparent := current_traceparent():
            metadata = aio.Metadata(*(client_call_details.metadata or ()))
            metadata.add("traceparent", traceparent)
            client_call_details = client_call_details._replace(metadata=metadata)
        return await continuation(client_call_details, request)
