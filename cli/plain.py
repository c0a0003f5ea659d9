"""How commands end: in one line where it can happen to anybody, with a traceback where it is a bug."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from shared.errors import Transient, Unusable, root_causes
from shared.settings import BadSettings
from shared.text import plain


class Command(click.Command):
    """Any command that doesn't stand in a Group of ours."""

    def invoke(self, ctx: click.Context) -> Any:
        with plain_errors():
            return super().invoke(ctx)


class Group(click.Group):
    """Its commands are of the kind above, unless they say otherwise."""

    command_class = Command

    def invoke(self, ctx: click.Context) -> Any:
        with plain_errors():  # a command's options are read here too, and some are settings
            return super().invoke(ctx)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raises click.ClickException instead: with status 2 for a setting that can't be used, with 1 for all else."""
    try:
        yield
    except (Exception, BaseExceptionGroup) as why:
        if (
            isinstance(why, click.ClickException | click.exceptions.Exit | click.Abort)
            or (line := plainly(why)) is None
        ):
            raise
        said = click.ClickException(plain(line))
        said.exit_code = click.UsageError.exit_code if isinstance(why, BadSettings) else said.exit_code
        raise said from why


def plainly(why: BaseException) -> str | None:
    """What to tell the user of an error that can happen to anybody; None for a mistake of ours."""
    told = [_told(cause) for cause in root_causes(why)]
    return told[0] if told and all(told) else None


def _told(why: BaseException) -> str | None:
    # Only when something failed: `vitrine packs` does without either.
    from confluent_kafka import KafkaException
    from grpc.aio import AioRpcError

    if isinstance(why, KafkaException):
        error = why.args[0]
        return f"Kafka refused: {error.str()} ({error.name()})"
    if isinstance(why, AioRpcError):
        return f"the lookups answered {why.code().name}: {why.details()}"
    expected = isinstance(why, Transient | Unusable | OSError) and not isinstance(why, BrokenPipeError)
    return str(why) if expected else None
