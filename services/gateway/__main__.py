"""The gateway as a process: wires the parts and serves until SIGTERM, letting uploads in flight finish."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import structlog
import uvicorn
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from services.gateway.app import create_app
from services.gateway.intake import Intake
from services.gateway.lookup import RecommendationClient
from services.gateway.settings import GatewaySettings
from shared.errors import Transient
from shared.kafka import Producer
from shared.logs import start_logging
from shared.photo_store import open_photo_store
from shared.topics import IMAGE_UPLOADED, LISTING_CHANGED
from shared.tracing import start_tracing

log = structlog.get_logger()

# Kubernetes and the supervisor wait thirty before they kill.
GRACE_SECONDS = 25


def main() -> None:
    settings = GatewaySettings()
    start_logging("gateway", settings.log_level)
    start_tracing("gateway")
    asyncio.run(serve(settings))


async def serve(settings: GatewaySettings) -> None:
    store = open_photo_store(settings.photo_store)
    lookup = RecommendationClient(settings.recommendation, settings.lookup_seconds)
    producer = Producer(settings.kafka, settings.acknowledge_seconds)
    broker = Broker(settings.kafka, settings.probe_seconds)
    with ThreadPoolExecutor(settings.threads or os.cpu_count() or 1, "decode") as decoders:
        intake = Intake(store, producer, settings, decoders)
        app = create_app(intake, lookup, {"photo store": store.check, "broker": broker.check}, settings)
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.http_port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        try:
            await uvicorn.Server(config).serve()
        finally:
            await lookup.close()
            await asyncio.to_thread(producer.close)


class Broker:
    """Asks Kafka whether it is there and has the topics that uploads go to."""

    def __init__(self, bootstrap: str, timeout_seconds: float) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self._timeout_seconds = timeout_seconds

    async def check(self) -> None:
        """Raises Transient."""
        try:
            known = await asyncio.to_thread(self._admin.list_topics, timeout=self._timeout_seconds)
        except KafkaException as why:
            raise Transient(f"does not answer: {why.args[0].str()}") from why
        missing = [topic.name for topic in (LISTING_CHANGED, IMAGE_UPLOADED) if topic.name not in known.topics]
        if missing:
            raise Transient(f"has no topic {', '.join(missing)}: run `vitrine topics`")


if __name__ == "__main__":
    main()
