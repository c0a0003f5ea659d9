"""The embedded servers are real ones: they keep their data, and they say what is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest
import redis
from confluent_kafka.admin import AdminClient, NewTopic

from services.operations.processes import accepts, is_free
from services.operations.servers import KafkaServer, RedisServer, ServerFailed, kafka_jars
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


def test_redis_finds_its_keys_after_a_stop(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    with server:
        client = redis.Redis.from_url(server.url)
        client.set("kept", "yes")
        assert client.vset().vadd("vectors", [1.0, 0.0], "a") == 1
    with server:
        assert redis.Redis.from_url(server.url).get("kept") == b"yes"


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
        "import sys, pathlib, os, signal; from services.operations.servers import RedisServer;"
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
