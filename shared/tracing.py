"""W3C trace context through HTTP, gRPC and Kafka headers, by OpenTelemetry.

Spans are made with the SDK's ids, so every log line and event of one upload carries one trace id. They are exported
nowhere, so they cost little: the ids in the logs are what one follows an upload by.
"""

from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = TraceContextTextMapPropagator()
tracer = trace.get_tracer("vitrine")


def start_tracing(service: str) -> None:
    """Once per process, at the edge. Without it spans have no ids and no traceparent is written."""
    trace.set_tracer_provider(TracerProvider(resource=Resource.create({"service.name": service})))


def extracted(headers: Mapping[str, bytes]) -> Context:
    """The context that a record's or request's headers carry; an empty one if they carry none."""
    return _PROPAGATOR.extract({k: v.decode("latin-1") for k, v in headers.items()})


def current_traceparent() -> str | None:
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def current_trace_id() -> str | None:
    """32 hex digits, or None outside of any span."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None
