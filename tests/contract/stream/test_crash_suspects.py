"""A photo that kills the worker's process, on a real Kafka: it is found, left out, and everything else is done."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import TopicPartition

from local.servers import kafka_jars
from shared.stream.admin import once_ready, reader
from shared.stream.notes import OffsetNote
from tests.brokers import ImpatientBroker
from tests.conftest import home
from tests.fakes import Shout
from tests.kafka_line import PROTOCOLS, KafkaLine

# Of one killer: two deaths in a crowd, two alone, and as many more as there were commits between.
MOST_DEATHS = 8
DONE_SECONDS = 60


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ImpatientBroker(tmp_path_factory.mktemp("kafka"), kafka_jars(home())) as server:
        yield server.bootstrap


@pytest.fixture(params=PROTOCOLS)
def line(request: pytest.FixtureRequest, impatient: str, unique: Callable[[str], str]) -> KafkaLine:
    return KafkaLine(impatient, request.param, unique("uploads"), ImpatientBroker.session_seconds).create()


@contextmanager
def worker(line: KafkaLine) -> Iterator[subprocess.Popen[bytes]]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    of = [line.bootstrap, line.protocol, line.topic.name, str(line.session_seconds)]
    with subprocess.Popen([sys.executable, "-m", "tests.dying_worker", *of], env=env) as process:
        try:
            yield process
        finally:
            process.kill()


async def until_done_or_dead(line: KafkaLine, process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(DONE_SECONDS):
        while process.poll() is None and await asyncio.to_thread(line.uncommitted) > 0:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def deaths_until_done(line: KafkaLine) -> int:
    """Starts the worker again and again, as a supervisor does; it is told to stop when all is committed."""
    for deaths in range(MOST_DEATHS + 1):
        with worker(line) as process:
            await until_done_or_dead(line, process)
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(process.wait, 30) == 0
                return deaths
            assert process.returncode == -signal.SIGKILL
    raise AssertionError(f"it died {MOST_DEATHS} times and more, and still isn't done")


async def test_a_photo_that_kills_is_a_dead_letter_after_a_few_deaths_and_all_others_are_done(line: KafkaLine) -> None:
    photos = [f"photo-{number}".encode() for number in range(40)]
    await line.feed([*photos[:20], b"killer", *photos[20:]])
    deaths = await deaths_until_done(line)
    assert deaths >= 4
    assert line.rejected() == [(b"killer", "fetch", "crash")] * 2  # of each task
    # What was under way when it died was done again, with the very same ids.
    assert {label for _, label in line.results()} == {p.decode().upper() for p in photos} | {p.decode() for p in photos}
    assert line.uncommitted() == 0


def noted(line: KafkaLine) -> OffsetNote:
    """With the committed offset of the partition in which the only record lies."""
    consumer = reader(line.bootstrap, line.group)
    wanted = [TopicPartition(line.topic.name, number) for number in range(2)]
    places = once_ready(lambda: consumer.committed(wanted, timeout=10))
    consumer.close()
    return OffsetNote.read(next((place.metadata for place in places if place.metadata), None))


async def test_a_worker_that_somebody_else_kills_condemns_no_photo(line: KafkaLine) -> None:
    """Not even when it is killed while it looks at that photo alone."""
    await line.feed([b"waits"])
    for at_its_death in (OffsetNote(1), OffsetNote(2), OffsetNote(3, alone=1)):
        with worker(line) as process:
            async with asyncio.timeout(DONE_SECONDS):
                while await asyncio.to_thread(noted, line) != at_its_death:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            process.kill()
    await line.work(Shout())
    assert line.rejected() == []
    assert line.said() == ["WAITS"]
