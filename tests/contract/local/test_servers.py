"""The embedded servers are real ones: they keep their data, and they say what is wrong."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from local.processes import accepts, is_free
from local.servers import KafkaServer, RedisServer, ServerFailed, kafka_jars
from services.recommendation.index import Placement, RedisVectorIndex
from services.recommendation.store import RedisRecords
from shared.redis import connect
from tests.conftest import home
from tests.seaweed import SeaweedServer


def test_kafka_finds_its_topics_after_a_stop_and_after_a_crash(tmp_path: Path) -> None:
    kafka = KafkaServer(tmp_path, kafka_jars(home()))
    with kafka:
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        admin.create_topics([NewTopic("kept", 3, 1)])["kept"].result(10)
    with kafka:
        assert "kept" in AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=5).topics
        kafka.kill()
    with kafka:
        assert "kept" in AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=5).topics
    assert is_free(kafka.port)


async def test_redis_finds_keys_and_vectors_after_a_stop_and_after_a_crash(tmp_path: Path) -> None:
    """The index's own commands: with VADD's option CAS, Redis 8.2 could not load what it had written."""
    server = RedisServer(tmp_path)
    with server:
        await _hold_vector(server.url)
    with server:
        assert await _vectors(server.url) == 1
        server.kill()
    with server:
        assert await _vectors(server.url) == 1


async def _hold_vector(url: str) -> None:
    client = connect(url)
    vector = np.eye(1, 8, dtype=np.float32)[0]
    await RedisVectorIndex(client).place([Placement("one", {"pack@1": vector}, {"seller": "s"})])
    await RedisRecords(client).flushed()
    await client.aclose()


async def _vectors(url: str) -> int:
    client = connect(url)
    try:
        return await RedisVectorIndex(client).size("pack@1")
    finally:
        await client.aclose()


def test_a_busy_port_gets_one_clear_line(tmp_path: Path, redis_server: RedisServer) -> None:
    with pytest.raises(ServerFailed, match=rf"^Redis: port {redis_server.port} is busy; [^\n]+$"):
        RedisServer(tmp_path, port=redis_server.port).start()


def test_missing_jars_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match="run `make setup`"):
        KafkaServer(tmp_path / "data", jars=tmp_path / "none").start()


def test_missing_java_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerFailed, match="Kafka needs Java 17"):
        KafkaServer(tmp_path / "data", kafka_jars(home())).start()


def test_a_server_that_dies_at_its_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(ServerFailed, match=r"(?s)Redis ended with status 1.*manifest"):
        RedisServer(tmp_path).start()


def test_a_server_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib, os, signal; from local.servers import RedisServer;"
        "server = RedisServer(pathlib.Path(sys.argv[1])); server.start();"
        "print(server.port, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    parent = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60)
    port = int(parent.stdout)
    for _ in range(100):
        if not accepts(port):
            break
        subprocess.run([sys.executable, "-c", ""], check=True)
    assert not accepts(port)


def test_s3_answers_at_the_address_its_environment_names(s3: SeaweedServer) -> None:
    assert s3.address == "s3://photos"
    assert s3.env["AWS_ENDPOINT_URL"] == f"http://127.0.0.1:{s3.port}"
