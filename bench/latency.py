"""How long an upload waits for each facet: `python -m bench.latency`, at several rates, fused and split.

Every second photo is a carton, whose text is read; the others have none. Uploads are put on the topic at an even rate;
from then on until a result lies on its topic is what counts. All facets: the last of an upload's four results.
"""

import asyncio
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
from confluent_kafka import Consumer, TopicPartition
from vitrine.events.v1 import image_pb2, listing_pb2

from cli.tables import number, show
from local.fleet import Fleet, Plan, Ports, running
from shared.events import event
from shared.photo_store import open_photo_store
from shared.screen import Rows
from shared.settings import Settings
from shared.stream.admin import cluster, reader
from shared.stream.producer import Producer
from shared.topics import IMAGE_UPLOADED, RESULTS
from studio import demo_catalogue

SEED = 20_101
FETCHED = ("cache", "kafka-*")
QUIET_SECONDS = 180.0
FACETS = tuple(RESULTS.values())


@dataclass(slots=True)
class Waits:
    """Seconds from upload to result, by topic and listing."""

    uploaded: dict[str, float] = field(default_factory=dict)
    answered: dict[str, dict[str, float]] = field(default_factory=dict)

    def medians(self) -> list[tuple[float, float]]:
        """Median and 95th percentile of each facet, and of an upload's last one."""
        facets = [list(self.answered.get(topic.name, {}).values()) for topic in FACETS]
        last = [max(self.answered[topic.name][listing] for topic in FACETS) for listing in self.uploaded]
        return [(statistics.median(waits), statistics.quantiles(waits, n=20)[-1]) for waits in (*facets, last)]


def half_cartons(count: int) -> list[bytes]:
    """Cartons and garments in turn; as many different ones as `count`, or else again from the start."""
    shown: dict[bool, list[bytes]] = {True: [], False: []}
    for listing in demo_catalogue(SEED, 3 * count):
        shown["volume" in listing.expected.attributes or "weight" in listing.expected.attributes] += listing.photos[:1]
        if all(len(some) >= count // 2 for some in shown.values()):
            break
    return [shown[at % 2 == 0][at // 2 % len(shown[at % 2 == 0])] for at in range(count)]


class Results:
    """Hears every result that comes after it was made."""

    def __init__(self, kafka: str) -> None:
        self._consumer: Consumer = reader(kafka)
        there = cluster(self._consumer, kafka).topics
        partitions = [TopicPartition(topic.name, n) for topic in FACETS for n in there[topic.name].partitions]
        for partition in partitions:
            edges = self._consumer.get_watermark_offsets(partition, timeout=10)
            assert edges is not None, "the broker stopped answering"
            partition.offset = edges[1]
        self._consumer.assign(partitions)

    def hear(self, waits: Waits, until: int) -> None:
        """Until so many results have come. Raises click.ClickException when none comes for a long time."""
        heard, quiet_since = 0, time.monotonic()
        while heard < until:
            for message in self._consumer.consume(100, timeout=0.05):
                topic, key = message.topic(), message.key()
                if message.error() or topic is None or not isinstance(key, bytes):
                    continue
                listing, now = key.decode(), message.timestamp()[1] / 1000
                known = waits.answered.setdefault(topic, {})
                if listing in waits.uploaded and listing not in known:
                    known[listing] = now - waits.uploaded[listing]
                    heard, quiet_since = heard + 1, time.monotonic()
            if time.monotonic() - quiet_since > QUIET_SECONDS:
                raise click.ClickException(f"{heard} of {until} results came, and no more")

    def close(self) -> None:
        self._consumer.close()


async def waits_at(fleet: Fleet, photos: Sequence[listing_pb2.Photo], per_second: float, name: str) -> Waits:
    """How long the results of one upload for each photo took."""
    waits, results, producer = Waits(), Results(fleet.kafka), Producer(fleet.kafka)
    uploads = [
        image_pb2.ImageUploaded(listing_id=f"{name}-{n}", revision=1, seller_id="bench", photo=photo)
        for n, photo in enumerate(photos)
    ]
    waits.uploaded = dict.fromkeys((upload.listing_id for upload in uploads), float("inf"))
    hearing = asyncio.create_task(asyncio.to_thread(results.hear, waits, len(photos) * len(FACETS)))
    started = time.monotonic()
    for n, upload in enumerate(uploads):
        await asyncio.sleep(max(0.0, started + n / per_second - time.monotonic()))
        upload.uploaded_at.GetCurrentTime()
        waits.uploaded[upload.listing_id] = time.time()
        await producer.send(
            [event(IMAGE_UPLOADED, upload.listing_id, upload, id_parts=[upload.listing_id], source="bench")]
        )
    await hearing
    producer.close()
    results.close()
    return waits


async def measured(home: Path, fused: bool, rates: Sequence[float], bodies: Sequence[bytes]) -> dict[float, Waits]:
    plan = Plan(home, ports=Ports.free(), fused=fused)
    waits = {}
    async with running(plan) as fleet:
        store = open_photo_store(plan.photos)
        photos = [
            listing_pb2.Photo(
                sha256=hashlib.sha256(body).hexdigest(), object_key=await store.put(body), size_bytes=len(body)
            )
            for body in bodies
        ]
        await waits_at(fleet, photos[:16], 4.0, "warm-up")
        for rate in rates:
            waits[rate] = await waits_at(fleet, photos, rate, f"at-{rate:g}")
    return waits


@click.command()
@click.option("--uploads", default=200, show_default=True, type=click.IntRange(32), help="At each rate.")
@click.option("--rate", "rates", multiple=True, default=(10.0, 20.0, 40.0), show_default=True, help="Uploads a second.")
@click.option("--only", type=click.Choice(("fused", "split")), help="Only one of the two.")
def main(uploads: int, rates: Sequence[float], only: str | None) -> None:
    """Print the median and the 95th percentile of the seconds that an upload waits for each facet."""
    os.environ["VITRINE_REMEMBERED_PHOTOS"] = "0"  # the same photos come at each rate
    fetched, bodies = Settings().home.resolve(), half_cartons(uploads)
    heads = [topic.name.removeprefix("image.") for topic in FACETS]
    table = Rows("workers", number("uploads/s"), *(number(head) for head in (*heads, "all facets")))
    for kind in [only] if only else ["fused", "split"]:
        with tempfile.TemporaryDirectory(prefix="vitrine-bench-") as folder:
            for pattern in FETCHED:
                for photo in fetched.glob(pattern):
                    (Path(folder) / photo.name).symlink_to(photo)
            for rate, waits in asyncio.run(measured(Path(folder), kind == "fused", rates, bodies)).items():
                cells = [f"{median:.2f} ({high:.2f})" for median, high in waits.medians()]
                table.add_row(kind, f"{rate:g}", *cells)
    show(table)


if __name__ == "__main__":
    main()
