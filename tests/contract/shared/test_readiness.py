"""Readiness is true: what a process says of itself while what it needs is away, and how it leaves."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from local.processes import free_port
from local.servers import KafkaServer, RedisServer, kafka_jars
from shared.photo_store import open_photo_store
from shared.stream.admin import create_topics
from shared.stream.known_good import plant
from tests.conftest import home
from tests.probing import asked

NOWHERE = "127.0.0.1:1"
PATIENCE_SECONDS = 150.0
PROCESSES = {
    "gateway": ("services.gateway",),
    "embedding": ("services.embedding",),
    "join": ("services.recommendation", "join"),
    "serve": ("services.recommendation", "serve"),
    "lag": ("services.lag",),
}


@dataclass
class Started:
    """A process, its ports, the first of them for probes, and what it has logged."""

    process: subprocess.Popen[bytes]
    port: int
    grpc_port: int
    http_port: int
    log: Path

    def asked(self, path: str) -> tuple[int, str]:
        return asked(self.port, path)

    def called(self) -> int:
        """The status that callers of the gateway get; 0 while it doesn't listen."""
        return asked(self.http_port, "/openapi.json")[0]

    def until(self, path: str, holds: Callable[[int, str], object]) -> str:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds(*(answer := self.asked(path))):
            if time.monotonic() > deadline or self.process.poll() is not None:
                pytest.fail(f"{path} is {answer}, exit {self.process.poll()}:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.1)
        return answer[1]

    def stopped(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()


@contextmanager
def started(name: str, folder: Path, **settings: str) -> Iterator[Started]:
    port, grpc_port, http_port, log = free_port(), free_port(), free_port(), folder / f"{name}.log"
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "VITRINE_KAFKA": NOWHERE,
        "VITRINE_REDIS": f"redis://{NOWHERE}/0",
        "VITRINE_PHOTO_STORE": str(folder / "photos"),
        "VITRINE_HOME": str(home()),
        "VITRINE_GRPC_PORT": str(grpc_port),
        "VITRINE_HTTP_PORT": str(http_port),
        "VITRINE_METRICS_PORT": str(port),
        "VITRINE_DRAIN_SECONDS": "0",
        **settings,
    }
    argv = [sys.executable, "-m", *PROCESSES[name]]
    with log.open("wb") as out, subprocess.Popen(argv, env=env, stdout=out, stderr=out) as process:
        try:
            yield Started(process, port, grpc_port, http_port, log)
        finally:
            process.kill()


@pytest.mark.parametrize("name", PROCESSES)
def test_a_wrong_address_leaves_a_process_started_alive_and_unready_and_every_line_it_logs_is_json(
    name: str, tmp_path: Path
) -> None:
    missing = "redis" if name in ("join", "serve") else "broker"
    asyncio.run(plant(open_photo_store(str(tmp_path / "photos"))))
    with started(name, tmp_path) as process:
        process.until("/startz", lambda status, _: status == 200)
        process.until(
            "/readyz", lambda status, text: status == 503 and re.search(f"^{missing}: (?!not asked)", text, re.M)
        )
        assert process.asked("/livez")[0] == 200, "a restart would not bring it back"
        assert f'vitrine_ready{{reason="{missing}"}} 0.0' in process.asked("/metrics")[1]
        assert process.stopped() == 0
        assert process.lines()
        for line in process.lines():
            assert json.loads(line)["service"], line


def test_a_worker_whose_photo_store_is_away_has_started_all_the_same(tmp_path: Path) -> None:
    """Else its start-up probe would have it load everything again, for ever."""
    away = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_REGION": "nowhere"}
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    with started("embedding", tmp_path, VITRINE_PHOTO_STORE="s3://photos", **away, **keys) as process:
        process.until("/startz", lambda status, _: status == 200)
        status, why = process.asked("/readyz")
        assert (status, "store: " in why) == (503, True)
        assert process.asked("/livez")[0] == 200
        assert process.stopped() == 0


@pytest.mark.parametrize("name", ["join", "serve"])
def test_a_redis_that_comes_later_is_waited_for(name: str, tmp_path: Path, kafka: str) -> None:
    create_topics(kafka)
    redis = RedisServer(tmp_path / "redis", free_port())
    with started(name, tmp_path, VITRINE_KAFKA=kafka, VITRINE_REDIS=redis.url) as process:
        process.until("/readyz", lambda status, text: status == 503 and "redis: " in text)
        with redis:
            process.until("/readyz", lambda status, _: status == 200)
            assert process.stopped() == 0


def test_a_worker_is_ready_when_its_topics_are_there_and_for_as_long_as_its_broker_is(tmp_path: Path) -> None:
    with (
        KafkaServer(tmp_path / "kafka", kafka_jars(home())) as kafka,
        started("embedding", tmp_path, VITRINE_KAFKA=kafka.bootstrap) as process,
    ):
        # Another store than the gateway's would lack every photo.
        process.until("/readyz", lambda status, text: status == 503 and "has no self-test photo" in text)
        asyncio.run(plant(open_photo_store(str(tmp_path / "photos"))))
        process.until("/readyz", lambda status, text: status == 503 and "has no topic" in text)
        create_topics(kafka.bootstrap)
        process.until("/readyz", lambda status, _: status == 200)
        kafka.stop()
        process.until("/readyz", lambda status, text: status == 503 and "broker: " in text)
        process.until("/readyz", lambda status, text: status == 503 and "group: " in text)
        # A query needs no broker.
        with grpc.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest())
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        kafka.start()
        process.until("/readyz", lambda status, _: status == 200)


def test_a_gateway_that_is_told_to_stop_takes_calls_until_routes_have_changed_then_finishes_and_exits_with_0(
    tmp_path: Path,
) -> None:
    with started("gateway", tmp_path, VITRINE_DRAIN_SECONDS="2") as gateway:
        gateway.until("/startz", lambda status, _: status == 200)
        # An upload under way: its body comes after the listener is gone.
        with socket.create_connection(("127.0.0.1", gateway.http_port), timeout=30) as upload:
            head = "POST /v1/listings HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n"
            upload.sendall(head.encode() + b"12")
            gateway.process.send_signal(signal.SIGTERM)
            said = gateway.until("/readyz", lambda _, text: "stopping: " in text)
            assert "told to stop" in said
            assert gateway.called() == 200, "refused too early"
            deadline = time.monotonic() + 20
            while gateway.called() and time.monotonic() < deadline:
                time.sleep(0.05)
            assert gateway.called() == 0, "it goes on listening"
            assert gateway.asked("/livez")[0] == 200, "a probe would end it before it has finished"
            assert gateway.process.poll() is None, "it left an upload behind"
            upload.sendall(b"345")
            assert b" 415 " in upload.recv(4096).splitlines()[0]
        assert gateway.process.wait(30) == 0
        assert any("Finished server process" in line for line in gateway.lines())
        assert not any("CTRL+C" in line for line in gateway.lines()), "who stops it sends a signal, once"


def test_lookups_that_are_told_to_stop_are_taken_until_routes_have_changed(tmp_path: Path, redis_url: str) -> None:
    with started("serve", tmp_path, VITRINE_REDIS=redis_url, VITRINE_DRAIN_SECONDS="2") as serve:
        serve.until("/readyz", lambda status, _: status == 200)
        serve.process.send_signal(signal.SIGTERM)
        serve.until("/readyz", lambda status, text: status == 503 and "stopping" in text)
        with grpc.insecure_channel(f"127.0.0.1:{serve.grpc_port}") as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert serve.process.wait(30) == 0
