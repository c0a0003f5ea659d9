"""Errors of a Kafka client that it doesn't get over: it is refused a right, which no waiting mends, or has given up."""

from collections.abc import Sequence

from confluent_kafka import KafkaError

_LOGIN = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
    }
)
_RIGHTS = frozenset(
    {
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)


def is_fatal(error: KafkaError) -> bool:
    """Whether the client has given up. Delivered as a message, a fatal error isn't marked as one."""
    return error.fatal() or error.code() == KafkaError._FATAL


def refusal_of_consumer(error: KafkaError, group: str, topics: Sequence[str]) -> str | None:
    """One line that says which right is missing; None when it is another kind of error."""
    if _code(error) == KafkaError.GROUP_AUTHORIZATION_FAILED:
        return _line(error, f"the consumer group {group} may not be used: grant READ on group {group}")
    if _code(error) == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        names = ", ".join(topics)
        return _line(error, f"{group} may not read {names}: grant READ and DESCRIBE on topic {names}")
    return _refusal_of_any(error, group)


def refusal_of_producer(error: KafkaError, topic: str) -> str | None:
    """One line that says which right is missing; None when it is another kind of error."""
    if _code(error) == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        return _line(error, f"nothing may be written to {topic}: grant WRITE and DESCRIBE on topic {topic}")
    return _refusal_of_any(error, topic)


def _refusal_of_any(error: KafkaError, who: str) -> str | None:
    if _code(error) in _LOGIN:
        return _line(error, f"the client for {who} may not log in: check its name, its password and the mechanism")
    if _code(error) == KafkaError.CLUSTER_AUTHORIZATION_FAILED:
        return _line(error, f"the client for {who} lacks a right on the cluster: grant IDEMPOTENT_WRITE and DESCRIBE")
    return None


def _code(error: KafkaError) -> int:
    """Of a fatal error the one behind it, which the client names by its text alone."""
    if error.code() != KafkaError._FATAL:
        return error.code()
    behind = (code for code in _LOGIN | _RIGHTS if KafkaError(code).str() in error.str())
    return next(behind, KafkaError._FATAL)


def _line(error: KafkaError, what: str) -> str:
    return f"Kafka refuses us: {what} ({error.str()})"
