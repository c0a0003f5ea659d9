"""What can happen to anybody ends a command with one line, a bug with its traceback."""

import click
import grpc
import pytest
from click.testing import CliRunner
from confluent_kafka import KafkaError, KafkaException
from grpc import aio

from cli.__main__ import COMMANDS, main
from cli.plain import Command, Group
from local.fleet import NotReady
from local.servers import ServerFailed
from local.supervisor import GaveUp
from shared.errors import Transient, Unusable

REFUSED = KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "not yours"))
AWAY = aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, aio.Metadata(), aio.Metadata(), details="starting")


def ended(why: BaseException, kind: type[Command | Group] = Command) -> tuple[int, str, BaseException | None]:
    def fails() -> None:
        raise why

    command = (
        Command("fails", callback=fails) if kind is Command else Group(commands=[Command("fails", callback=fails)])
    )
    result = CliRunner().invoke(command, [] if kind is Command else ["fails"])
    return result.exit_code, result.output, result.exception


@pytest.mark.parametrize("kind", [Command, Group])
@pytest.mark.parametrize(
    ("why", "line"),
    [
        (Unusable("no such pack"), "no such pack"),
        (Transient("no Kafka broker answers"), "no Kafka broker answers"),
        (NotReady("no Java"), "no Java"),
        (ServerFailed("Redis: port is busy"), "Redis: port is busy"),
        (GaveUp("embedding is not ready"), "embedding is not ready"),
        (ExceptionGroup("tasks", [GaveUp("given up"), Transient("away")]), "given up"),
        (PermissionError(13, "Permission denied", "new/pack"), "[Errno 13] Permission denied: 'new/pack'"),
        (REFUSED, "Kafka refused: not yours (TOPIC_AUTHORIZATION_FAILED)"),
        (AWAY, "the lookups answered UNAVAILABLE: starting"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_can_happen_to_anybody_is_one_line(why: Exception, line: str, kind: type[Command | Group]) -> None:
    assert ended(why, kind)[:2] == (1, f"Error: {line}\n")


@pytest.mark.parametrize("why", [KeyError("x"), ExceptionGroup("tasks", [Transient("away"), KeyError("x")])])
def test_a_bug_keeps_its_traceback(why: Exception) -> None:
    assert ended(why) == (1, "", why)


def test_whoever_reads_no_further_is_told_nothing() -> None:
    assert ended(BrokenPipeError(32, "Broken pipe"))[1] == ""


def test_what_click_raises_passes_as_it_is() -> None:
    assert ended(click.UsageError("give a name"))[0] == 2
    assert ended(click.exceptions.Exit(3))[0] == 3


@pytest.mark.parametrize("arguments", [["topics"], ["dlq", "list"], ["packs", "bench"]])
def test_a_setting_that_cannot_be_used_is_one_line_that_names_it(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VITRINE_METRICS_PORT", "http")
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert result.output.startswith("Error: VITRINE_METRICS_PORT is 'http': ")
    assert result.output.count("\n") == 1


def test_every_command_ends_plainly_alone_too() -> None:
    context = click.Context(main)
    for name in COMMANDS:
        assert isinstance(main.get_command(context, name), Command | Group), name
