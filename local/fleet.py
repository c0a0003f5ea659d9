"""The embedded fleet: a Kafka, a Redis and every service as processes of this machine, under one supervisor."""

import fcntl
import importlib.util
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.outages import OutsideServer
from local.processes import free_port, is_free
from local.servers import (
    KafkaServer,
    RedisServer,
    Server,
    ServerFailed,
    find_java,
    kafka_jars,
    redis_binary,
)
from local.supervisor import Restarts, Service, Supervisor, thread_environment, threads_each
from shared.errors import Unusable
from shared.stream.admin import create_topics
from shared.topics import TASKS, group_of

# What cannot be missed; the rest of the requirements come with these.
PACKAGES = ("confluent_kafka", "faust", "grpc", "redis", "torch", "timm", "rapidocr", "fastapi", "obstore")
# Loading torch and a pack, four times on few cores.
READY_SECONDS = 300.0


class NotReady(Unusable):
    """The machine lacks something that the fleet needs. One line each, with what to do."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens, on 127.0.0.1. These are the documented ones."""

    kafka: int = 9092
    redis: int = 6379
    http: int = 8080
    recommendation: int = 50051
    embedding: int = 50052
    classification_metrics: int = 9101
    attributes_metrics: int = 9102
    embedding_metrics: int = 9103
    fraud_metrics: int = 9104
    join_metrics: int = 9105
    serve_metrics: int = 9106
    lag_metrics: int = 9107
    gateway_metrics: int = 9108

    @classmethod
    def free(cls) -> "Ports":
        """Ports on which nobody listens, so that several fleets live on one machine."""
        return cls(**{name: free_port() for name in cls.__dataclass_fields__})

    def metrics_of(self, service: str) -> int:
        """Port of a service's /metrics and /readyz. The fused worker takes the first consumer's."""
        name = TASKS[0] if service == "fused" else service
        return int(getattr(self, f"{name}_metrics"))


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, and where. `kafka` and `redis` are addresses of servers that run already; None: start our own."""

    home: Path
    pack: str = "builtin"
    ports: Ports = Ports()
    kafka: str | None = None
    redis: str | None = None
    photo_store: str | None = None  # None: a folder in home/data
    fused: bool = False
    cores: int = os.cpu_count() or 1

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def photos(self) -> str:
        """The photo store's address."""
        return self.photo_store or str((self.data / "photos").resolve())

    @property
    def gateway_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.http}"

    @property
    def recommendation(self) -> str:
        """host:port of the lookups' gRPC."""
        return f"127.0.0.1:{self.ports.recommendation}"

    @property
    def addresses(self) -> tuple[str, str]:
        """Kafka's bootstrap servers and Redis's URL: those given, or our own."""
        kafka = self.kafka or f"127.0.0.1:{self.ports.kafka}"
        return kafka, self.redis or f"redis://127.0.0.1:{self.ports.redis}/0"

    @property
    def outside(self) -> list[OutsideServer]:
        """The servers that are given."""
        kafka = [] if self.kafka is None else [OutsideServer.kafka(self.kafka)]
        return kafka + ([] if self.redis is None else [OutsideServer.redis(self.redis)])

    @property
    def workers(self) -> tuple[str, ...]:
        return ("fused",) if self.fused else TASKS

    @property
    def metrics(self) -> tuple[str, ...]:
        """The services, each of which serves metrics on a port of its own."""
        return ("gateway", *self.workers, "join", "serve", "lag")


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet that runs and is ready."""

    plan: Plan
    supervisor: Supervisor
    kafka: str
    redis: str


def lacks(plan: Plan) -> Iterator[str]:
    """What stands in the plan's way, a line each; none when it can be tried."""
    yield from (f"the package {name} is missing: run `make setup`" for name in PACKAGES if not _installed(name))
    if plan.kafka is None:
        yield from _failure(find_java)
        if not any(kafka_jars(plan.home).glob("*.jar")):
            yield f"Kafka's jars are not in {kafka_jars(plan.home)}: run `make setup`"
    if plan.redis is None:
        yield from _failure(redis_binary)
    yield from _busy_ports(plan)


@asynccontextmanager
async def running(
    plan: Plan,
    *,
    say: Callable[[str], None] = print,
    on_ready: Callable[[str], None] | None = None,
    restarts: Restarts | None = None,
) -> AsyncIterator[Fleet]:
    """Starts everything, waits until it is ready, and ends everything when left.

    Raises NotReady, ServerFailed, supervisor.GaveUp and what `create_topics` raises: each a line for people. Enter it
    in the main thread.
    """
    with _only_one(plan.home):
        if wanting := list(lacks(plan)):
            raise NotReady("\n".join(wanting))
        _keep_one_old_log(plan.logs)
        with started_servers(plan) as servers:
            for server in servers:
                if on_ready:
                    on_ready(server.name.lower())
            kafka, redis = plan.addresses
            create_topics(kafka)
            services = services_of(plan, kafka, redis)
            supervised = Supervisor(
                services, plan.logs, servers=servers, outside=plan.outside, restarts=restarts, say=say
            )
            async with supervised as supervisor:
                await supervisor.until_ready(READY_SECONDS, on_ready)
                yield Fleet(plan, supervisor, kafka, redis)


@contextmanager
def started_servers(plan: Plan) -> Iterator[list[Server]]:
    """Those that the plan does not name. Stopped when left."""
    servers: list[Server] = []
    if plan.kafka is None:
        jars = kafka_jars(plan.home)
        servers.append(KafkaServer(plan.data / "kafka", jars, plan.ports.kafka, plan.logs / "kafka.log"))
    if plan.redis is None:
        servers.append(RedisServer(plan.data / "redis", plan.ports.redis, plan.logs / "redis.log"))
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.stop()


def services_of(plan: Plan, kafka: str, redis: str) -> list[Service]:
    """Every process of the fleet but the servers, in the order of their start."""
    ports = plan.ports
    common = {
        "VITRINE_HOME": str(plan.home.resolve()),
        "VITRINE_HOST": "127.0.0.1",
        # Nobody routes calls here, and whoever presses Ctrl-C has no use for waiting.
        "VITRINE_DRAIN_SECONDS": "0",
        "VITRINE_KAFKA": kafka,
        "VITRINE_REDIS": redis,
        "VITRINE_PACK": plan.pack,
        "VITRINE_PHOTO_STORE": plan.photos,
        "VITRINE_RECOMMENDATION": plan.recommendation,
        "VITRINE_EMBEDDING": f"127.0.0.1:{ports.embedding}",
        "VITRINE_EXPECTED_GROUPS": ",".join(group_of(name) for name in (*plan.workers, "join")),
        # A traceback must be in the log when the process dies, not in a buffer.
        "PYTHONUNBUFFERED": "1",
    }
    frugal = thread_environment(1)

    def service(name: str, argv: Sequence[str], port: int, env: Mapping[str, str]) -> Service:
        ready = f"http://127.0.0.1:{port}/readyz"
        return Service(name, (sys.executable, *argv), {**common, "VITRINE_METRICS_PORT": str(port), **env}, ready)

    recommendation = ("-m", "services.recommendation")
    lookups = frugal | {"VITRINE_GRPC_PORT": str(ports.recommendation)}
    intake = frugal | {"VITRINE_HTTP_PORT": str(ports.http)}
    return [
        service("gateway", ("-m", "services.gateway"), ports.gateway_metrics, intake),
        service("join", (*recommendation, "join"), ports.join_metrics, frugal),
        service("serve", (*recommendation, "serve"), ports.serve_metrics, lookups),
        *_workers(plan, service),
        service("lag", ("-m", "services.lag"), ports.lag_metrics, frugal),
    ]


def _workers(plan: Plan, service: Callable[..., Service]) -> list[Service]:
    shared = thread_environment(threads_each(plan.cores, len(plan.workers)))
    # Only the process that embeds listens there.
    env = {**shared, "VITRINE_GRPC_PORT": str(plan.ports.embedding)}
    if plan.fused:
        command = ("-c", "from cli.__main__ import main; main()", "worker", "--tasks", "all")
        return [service("fused", command, plan.ports.metrics_of("fused"), env)]
    return [service(name, ("-m", f"services.{name}"), plan.ports.metrics_of(name), env) for name in TASKS]


def _busy_ports(plan: Plan) -> Iterator[str]:
    given = {"kafka": plan.kafka, "redis": plan.redis}
    advice = {name: f", or use that server by VITRINE_{name.upper()}" for name in given}
    for name in plan.ports.__dataclass_fields__:
        port = getattr(plan.ports, name)
        if given.get(name) is None and not is_free(port):
            what = name.replace("_", " ")
            yield (
                f"port {port} ({what}) is busy: stop what listens there{advice.get(name, '')},"
                " or let `vitrine run --free-ports` choose others"
            )


def _installed(package: str) -> bool:
    # An imported package may have taken its own place in sys.modules without a spec, as faust does.
    return package in sys.modules or importlib.util.find_spec(package) is not None


def _failure(check: Callable[[], object]) -> Iterator[str]:
    try:
        check()
    except ServerFailed as why:
        yield str(why)


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Two fleets on one folder would write into each other's data."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "run.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "?"
            raise NotReady(f"a fleet runs in {home} already (process {holder}): stop it first") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _keep_one_old_log(logs: Path) -> None:
    """Each run's logs start empty; those of the run before are NAME.log.1."""
    for log in logs.glob("*.log"):
        log.replace(log.with_suffix(".log.1"))
