"""A worker as a process on a real Kafka: a SIGTERM ends it with 0, and leaves nothing half done."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from vitrine.events.v1 import image_pb2, listing_pb2

from local.servers import KafkaServer, kafka_jars
from shared.events import event
from shared.photo_store import open_photo_store
from shared.stream.admin import create_topics, reader
from shared.stream.known_good import KNOWN_GOOD_PHOTO, plant
from shared.stream.offsets import committed_offsets
from shared.stream.producer import Producer
from shared.topics import DEAD_LETTERS, IMAGE_CLASSIFIED, IMAGE_UPLOADED, group_of
from tests.conftest import home
from tests.fleet.checker import produced

Worker = subprocess.Popen[str]
START_SECONDS = 120
DRAIN_SECONDS = 30
UPLOADS = 600


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of this module's own, with the declared topics: a worker reads all that lies in them."""
    with KafkaServer(tmp_path_factory.mktemp("kafka"), kafka_jars(home())) as server:
        create_topics(server.bootstrap)
        yield server.bootstrap


@contextmanager
def classification(bootstrap: str, store: Path) -> Iterator[Worker]:
    """The process, which has set itself up and is about to warm up or at work."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    env = {**os.environ, "PYTHONPATH": path, "VITRINE_KAFKA": bootstrap, "VITRINE_PHOTO_STORE": str(store)}
    env |= {"VITRINE_HOME": str(home()), "VITRINE_METRICS_PORT": "0", "VITRINE_PACK": "builtin"}
    argv = [sys.executable, "-m", "services.classification"]
    with subprocess.Popen(argv, env=env, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            assert any('"serving"' in line for line in process.stderr), "it ended before it began to serve"
            yield process
        finally:
            process.kill()


def ended(process: Worker) -> tuple[int, str]:
    """Its exit status after a SIGTERM, and what it said from there on."""
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=DRAIN_SECONDS)
    return process.returncode, said


async def upload(bootstrap: str, store: Path) -> None:
    """Lays so many uploads before the worker that none is done with them when it is told to stop."""
    key = await open_photo_store(str(store)).put(KNOWN_GOOD_PHOTO.read_bytes())
    photo = listing_pb2.Photo(sha256=key.rpartition("/")[2], object_key=key)
    uploads = [
        image_pb2.ImageUploaded(listing_id=f"listing-{number}", revision=1, seller_id="ann", photo=photo)
        for number in range(UPLOADS)
    ]
    producer = Producer(bootstrap)
    await producer.send(
        [event(IMAGE_UPLOADED, one.listing_id, one, id_parts=(one.listing_id,), source="test") for one in uploads]
    )
    producer.close()


def await_first_result(bootstrap: str) -> None:
    consumer = reader(bootstrap)
    consumer.assign([TopicPartition(IMAGE_CLASSIFIED.name, number, 0) for number in range(IMAGE_CLASSIFIED.partitions)])
    try:
        while (message := consumer.poll(START_SECONDS)) is not None and message.error():
            pass  # the end of a partition in which there is nothing yet
        assert message is not None, "the worker published nothing"
    finally:
        consumer.close()


async def test_a_worker_that_is_told_to_stop_during_its_warm_up_ends_at_once(bootstrap: str, tmp_path: Path) -> None:
    await plant(open_photo_store(str(tmp_path)))
    with classification(bootstrap, tmp_path) as process:
        status, said = ended(process)
    assert status == 0, said


async def test_a_worker_that_is_told_to_stop_at_work_commits_exactly_what_it_has_published(
    bootstrap: str, tmp_path: Path
) -> None:
    await upload(bootstrap, tmp_path)
    with classification(bootstrap, tmp_path) as process:
        await_first_result(bootstrap)
        status, said = ended(process)
    assert status == 0, said
    published = produced(bootstrap, IMAGE_CLASSIFIED)
    assert 0 < published <= UPLOADS
    assert sum(committed_offsets(bootstrap, group_of("classification")).values()) == published
    assert produced(bootstrap, DEAD_LETTERS) == 0
