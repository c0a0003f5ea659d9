"""What tests share: real servers, started once per session when first asked for, and the rules of CI."""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings

from local.servers import KafkaServer, RedisServer, Server, ServerFailed, kafka_jars
from tests.seaweed import SeaweedServer

PROJECT = Path(__file__).parent.parent
S = TypeVar("S", bound=Server)

# An example that takes long says that the machine is busy, not that the code is wrong.
settings.register_profile("vitrine", deadline=None)
settings.load_profile("vitrine")


def home() -> Path:
    """Where `make setup` put the jars and the converted network: VITRINE_HOME, else .vitrine of this checkout."""
    return Path(os.environ.get("VITRINE_HOME", PROJECT / ".vitrine")).resolve()


def started(server: S) -> Iterator[S]:
    """The server, running. A server that does not start fails the test with its reason; it never skips it."""
    try:
        server.start()
    except ServerFailed as why:
        pytest.fail(str(why), pytrace=False)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """The session's Kafka, for tests that stop it too; who stops it starts it again."""
    yield from started(KafkaServer(tmp_path_factory.mktemp("kafka"), kafka_jars(home())))


@pytest.fixture(scope="session")
def kafka(kafka_server: KafkaServer) -> str:
    """Bootstrap servers of a real Kafka. No topics: create those you need, with names of your own."""
    return kafka_server.bootstrap


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The session's Redis, for tests that stop it too; who stops it starts it again."""
    yield from started(RedisServer(tmp_path_factory.mktemp("redis")))


@pytest.fixture(scope="session")
def redis_url(redis_server: RedisServer) -> str:
    """Address of a real Redis 8. Tests share it: use keys of your own, or flush before you start."""
    return redis_server.url


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    """A real S3 API server: `address` for open_photo_store, `env` for the AWS_* variables."""
    yield from started(SeaweedServer(tmp_path_factory.mktemp("s3")))


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder of real photos, VITRINE_TEST_PHOTOS, with clothing/ and grocery/ in it."""
    if not (folder := os.environ.get("VITRINE_TEST_PHOTOS")):
        pytest.skip("VITRINE_TEST_PHOTOS names no folder of real photos")
    if not (path := Path(folder).resolve()).is_dir():
        pytest.fail(f"VITRINE_TEST_PHOTOS is {folder}, which is no folder", pytrace=False)
    return path


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Makes a name that no other test uses, for topics and consumer groups on the shared broker."""
    return lambda name: f"{name}-{uuid.uuid4().hex[:8]}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skip is a failure in CI, unless it is for lack of a GPU: else a missing server looks like a passing suite."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") != "true" or reporter is None:
        return
    unwanted = [reason for report in reporter.stats.get("skipped", []) if "GPU" not in (reason := str(report.longrepr))]
    if unwanted:
        reporter.write_line("")
        for reason in unwanted:
            reporter.write_line(f"skipped in CI: {reason}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
