"""One process of bench/worker.py: the worker and the bare loops that it is compared with, taking turns.

All contenders of a process share its model, its device thread and its cores: nothing but the machinery differs.
Writes JSON lines on standard output: a Rate per contender and round, a Memory per sample.
"""

import asyncio
import hashlib
import json
import os
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop
from confluent_kafka import Consumer
from confluent_kafka import Producer as Librdkafka
from vitrine.events.v1 import image_pb2, listing_pb2

from shared.errors import Poison
from shared.events import Event, event, parse
from shared.logs import start_logging
from shared.photo_store import open_photo_store, photo_key
from shared.photos import Photo
from shared.stream.assessment import assess
from shared.stream.fetching import Fetch, fetch_from
from shared.stream.known_good import known_good, plant
from shared.stream.producer import RESULTS_LINGER_MS, KafkaSink, Producer
from shared.stream.records import Assignment, Outcome, Record, Rejected
from shared.stream.serving import WorkerSettings
from shared.stream.source import KafkaSource
from shared.stream.task import Finding, Task
from shared.stream.worker import Limits, Worker
from shared.topics import CANARY, IMAGE_EMBEDDED, IMAGE_UPLOADED, Topic
from shared.tracing import start_tracing
from shared.vision.decode import decode

# The bare broker loop has a topic of its own: the worker's is read by the worker as soon as it is written.
BARE_UPLOADED = Topic("bench.uploaded", image_pb2.ImageUploaded, kept_ms=IMAGE_UPLOADED.kept_ms)
MEMORY_SAMPLES = 8

WORKER = "worker"
BARE = "bare"
BARE_AHEAD = "bare, next batch decoded meanwhile"
BARE_WHOLE = "bare, with all of the task's work"
BARE_BROKER = "bare broker loop"

AnyTask = Task[Any, Any]
Uploads = Sequence[image_pb2.ImageUploaded]


@dataclass(frozen=True, slots=True)
class Workload:
    """What one process shall measure."""

    kind: str  # a task's name, "fused", or "dummy"
    tasks: list[str]  # [] for dummy
    rounds: int
    per_round: int  # photos or records
    memory_photos: int
    batch_photos: int
    threads: int
    kafka: str
    redis: str
    photo_store: str
    photos: list[str]  # files


@dataclass(frozen=True, slots=True)
class Rate:
    kind: str
    round: int
    contender: str
    per_second: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory after so many photos, counted from the first that the process ever saw."""

    kind: str
    photos: int
    mib: float


class Dummy:
    """A task that does nothing: what is left is the worker."""

    name = "dummy"

    def warm_up(self) -> None: ...

    def prepare(self, photo: Photo) -> None: ...

    def infer(self, photos: Sequence[Photo], inputs: Sequence[None]) -> Sequence[None]:
        return inputs

    def takes_long(self, found: None) -> bool:
        return False

    def conclude(self, photo: Photo, found: None) -> Sequence[Finding]:
        return [Finding(nothing_found(photo.upload))]


def nothing_found(upload: image_pb2.ImageUploaded) -> image_pb2.ImageEmbedded:
    return image_pb2.ImageEmbedded(assessment=assess(upload, "dummy@1", 1), space="dummy@1")


async def from_the_event(record: Record) -> Photo:
    """Fetches nothing: a dummy looks at no pixels."""
    return Photo(b"", parse(image_pb2.ImageUploaded, record.value), decode)


# --- the worker -------------------------------------------------------------------------------------------------------


class CountedSink:
    """Counts what the broker has acknowledged. A rejected photo would make the rate a lie, so it ends the run."""

    def __init__(self, sink: KafkaSink) -> None:
        self._sink = sink
        self.outcomes = 0

    async def send(self, outcomes: Sequence[Outcome]) -> None:
        for rejected in (outcome for outcome in outcomes if isinstance(outcome, Rejected)):
            raise RuntimeError(f"{rejected.task} rejected a photo: {rejected.code}: {rejected.message}")
        await self._sink.send(outcomes)
        self.outcomes += len(outcomes)


class WatchedSource:
    """Tells when what was waited for may be committed, which is once its results are acknowledged."""

    def __init__(self, source: KafkaSource, sink: CountedSink) -> None:
        self._source = source
        self._sink = sink
        self.target = 0
        self.first_at = 0.0
        self.reached = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[Record]:
        async for record in self._source:
            self.first_at = self.first_at or time.perf_counter()
            yield record

    def on_receipt(self, tell: Callable[[Record], None]) -> None:
        self._source.on_receipt(tell)

    async def commit(self, offsets: Mapping[Assignment, int]) -> None:
        await self._source.commit(offsets)
        if self._sink.outcomes >= self.target:
            self.reached.set()

    def hold(self) -> None:
        self._source.hold()

    def release(self) -> None:
        self._source.release()

    def stop(self) -> None:
        self._source.stop()


class RunningWorker:
    """A worker as production runs it, on the real broker, that can be given so many photos and timed."""

    def __init__(self, workload: Workload, tasks: Sequence[AnyTask], fetch: Fetch, canary: Record) -> None:
        self._tasks = tasks
        self._producer = Producer(workload.kafka)
        self._inner = KafkaSource(workload.kafka, f"vitrine-bench-{workload.kind}", [IMAGE_UPLOADED])
        self._results = Producer(workload.kafka, linger_ms=RESULTS_LINGER_MS)
        self._sink = CountedSink(KafkaSink(self._results))
        self._source = WatchedSource(self._inner, self._sink)
        # The same batch size as the bare loops: nothing shrinks it. Photos come again, and none is remembered.
        limits = Limits(batch_photos=workload.batch_photos, batch_seconds=3600, cpu_threads=workload.threads)
        self.worker = Worker(self._source, fetch, tasks, self._sink, canary, limits)
        self._running = asyncio.create_task(self.worker.run())

    async def seconds(self, uploads: Uploads) -> float:
        """From the first record handed to the worker to the last one acknowledged and given to be committed.

        They all lie on the broker before. How long a paused consumer takes to fetch again, up to a second, is left out.
        """
        self._source.target = self._sink.outcomes + len(uploads) * len(self._tasks)
        self._source.first_at = 0.0
        self._source.reached.clear()
        self._source.hold()
        await asyncio.sleep(0.3)  # the polling thread looks ten times a second
        await self._producer.send([as_event(IMAGE_UPLOADED, upload) for upload in uploads])
        self._source.release()
        reached = asyncio.create_task(self._source.reached.wait())
        await asyncio.wait([reached, self._running], return_when=asyncio.FIRST_COMPLETED)
        if self._running.done():
            await self._running
            raise RuntimeError("the worker ended before its photos did")
        return time.perf_counter() - self._source.first_at

    async def stop(self) -> None:
        self._inner.stop()
        await self._running
        await self._inner.close()
        self._results.close()
        self._producer.close()


# --- the bare loops ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BareLoop:
    """Decode and forward, with the prepare, batch size, device thread and number of threads of the worker."""

    tasks: Sequence[AnyTask]
    batch_photos: int
    before: ThreadPoolExecutor
    device: ThreadPoolExecutor
    after: ThreadPoolExecutor

    def seconds(self, photos: Sequence[tuple[bytes, image_pb2.ImageUploaded]], ahead: bool, whole: bool) -> float:
        """`ahead` prepares the next batch during the forward; `whole` runs the tasks' conclude too."""
        started = time.perf_counter()
        batches = [photos[at : at + self.batch_photos] for at in range(0, len(photos), self.batch_photos)]
        concluding: deque[list[Future[None]]] = deque()
        preparing = self._submit(batches[0])
        for number in range(len(batches)):
            prepared = [future.result() for future in preparing]
            following = batches[number + 1] if number + 1 < len(batches) else ()
            if ahead:
                preparing = self._submit(following)
            outputs = self.device.submit(self._infer, prepared).result()
            if not ahead:
                preparing = self._submit(following)
            if whole:
                done = [
                    self.after.submit(self._conclude, photo, each)
                    for (photo, _), each in zip(prepared, outputs, strict=True)
                ]
                concluding.append(done)
            while len(concluding) > 2:
                _wait(concluding.popleft())
        for futures in concluding:
            _wait(futures)
        return time.perf_counter() - started

    def _submit(
        self, batch: Sequence[tuple[bytes, image_pb2.ImageUploaded]]
    ) -> list[Future[tuple[Photo, dict[str, Any]]]]:
        return [self.before.submit(self._prepare, body, upload) for body, upload in batch]

    def _prepare(self, body: bytes, upload: image_pb2.ImageUploaded) -> tuple[Photo, dict[str, Any]]:
        photo = Photo(body, upload, decode)
        return photo, {task.name: task.prepare(photo) for task in self.tasks}

    def _infer(self, prepared: Sequence[tuple[Photo, dict[str, Any]]]) -> list[dict[str, Any]]:
        photos = [photo for photo, _ in prepared]
        found: list[dict[str, Any]] = [{} for _ in photos]
        for task in self.tasks:
            outputs = task.infer(photos, [inputs[task.name] for _, inputs in prepared])
            for each, output in zip(found, outputs, strict=True):
                each[task.name] = output
        return found

    def _conclude(self, photo: Photo, found: Mapping[str, Any]) -> None:
        for task in self.tasks:
            task.conclude(photo, found[task.name])


class BareBrokerLoop:
    """Consume a batch, parse, produce a result each, wait for the broker, commit: what any consumer has to do."""

    def __init__(self, workload: Workload) -> None:
        self._batch = workload.batch_photos
        self._consumer = Consumer(
            {
                "bootstrap.servers": workload.kafka,
                "group.id": "vitrine-bench-bare",
                "group.protocol": "consumer",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        self._consumer.subscribe([BARE_UPLOADED.name])
        # As the worker's: see shared/stream/producer.py.
        self._producer = Librdkafka(
            {
                "bootstrap.servers": workload.kafka,
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 5,
                "partitioner": "murmur2_random",
            }
        )
        self._feeding = Producer(workload.kafka)

    async def seconds(self, uploads: Uploads) -> float:
        await self._feeding.send([as_event(BARE_UPLOADED, upload) for upload in uploads])
        return await asyncio.to_thread(self._run, len(uploads))

    def _run(self, records: int) -> float:
        started = time.perf_counter()
        while records > 0:
            messages = self._consumer.consume(self._batch, timeout=0.05)
            for message in messages:
                upload = parse(image_pb2.ImageUploaded, message.value() or b"")
                said = result_of(upload)
                self._producer.produce(
                    said.topic.name, key=said.key, value=said.value, headers=list(said.headers.items())
                )
            if messages:
                self._producer.flush()
                self._consumer.commit(asynchronous=False)
            records -= len(messages)
        return time.perf_counter() - started

    def close(self) -> None:
        self._consumer.close()
        self._feeding.close()


def result_of(upload: image_pb2.ImageUploaded) -> Event:
    message = nothing_found(upload)
    parts = [upload.listing_id, upload.revision, upload.photo.sha256, message.assessment.pack]
    return event(IMAGE_EMBEDDED, upload.listing_id, message, id_parts=parts, source="dummy")


# --- what one process does --------------------------------------------------------------------------------------------


async def measure(workload: Workload) -> None:
    if workload.tasks:
        await measure_photos(workload)
    else:
        await measure_records(workload)


async def measure_photos(workload: Workload) -> None:
    """The worker, and the bare loops over the same photos, in rounds; then memory."""
    settings = WorkerSettings(
        kafka=workload.kafka,
        redis=workload.redis,
        photo_store=workload.photo_store,
        batch_photos=workload.batch_photos,
        threads=workload.threads,
    )
    tasks = await asyncio.to_thread(_tasks, settings, workload.tasks)
    uploads = Numbered(await asyncio.to_thread(_bodies, workload.photos))
    store = open_photo_store(workload.photo_store)
    for body in uploads.bodies:
        await store.put(body)
    await plant(store)
    running = RunningWorker(workload, tasks, fetch_from(store, decode), await known_good(store))
    with ThreadPoolExecutor(workload.threads) as before, ThreadPoolExecutor(workload.threads) as after:
        bare = BareLoop(tasks, workload.batch_photos, before, running.worker.device, after)

        def bare_loop(ahead: bool, whole: bool) -> Callable[[Uploads], Any]:
            async def timed(given: Uploads) -> float:
                photos = [(uploads.body(upload), upload) for upload in given]
                return await asyncio.to_thread(bare.seconds, photos, ahead, whole)

            return timed

        contenders = {
            WORKER: running.seconds,
            BARE: bare_loop(ahead=False, whole=False),
            BARE_AHEAD: bare_loop(ahead=True, whole=False),
            BARE_WHOLE: bare_loop(ahead=True, whole=True),
        }
        await take_turns(workload, contenders, uploads)
    await watch_memory(workload, running, uploads)
    await running.stop()


async def measure_records(workload: Workload) -> None:
    """The worker with a task that does nothing, and a bare consume-produce-commit loop; then memory."""
    uploads = Numbered([b"no photo"])
    canary_record = Record(Assignment(CANARY.name, 0), 0, b"canary", uploads.next().SerializeToString())
    running = RunningWorker(workload, [Dummy()], from_the_event, canary_record)
    bare = BareBrokerLoop(workload)
    await take_turns(workload, {WORKER: running.seconds, BARE_BROKER: bare.seconds}, uploads)
    await watch_memory(workload, running, uploads)
    await running.stop()
    bare.close()


async def take_turns(
    workload: Workload, contenders: Mapping[str, Callable[[Uploads], Any]], uploads: "Numbered"
) -> None:
    """Each round starts with another contender, so that none has the cooler machine."""
    names = list(contenders)
    # Groups join, pools start, caches fill. The broker's JVM compiles what is hot: at first it takes 4 CPU-ms for each
    # photo of the worker, after three turns 1.
    for name in [WORKER, WORKER, *names]:
        await contenders[name](uploads.some(workload.per_round))
    for number in range(workload.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            uploads.rewind()
            seconds = await contenders[name](uploads.some(workload.per_round))
            tell(Rate(workload.kind, number, name, workload.per_round / seconds))


async def watch_memory(workload: Workload, running: RunningWorker, uploads: "Numbered") -> None:
    """Resident memory before, and after each eighth of the photos."""
    if not workload.memory_photos:
        return
    tell(Memory(workload.kind, 0, resident_mib()))
    each = max(1, workload.memory_photos // MEMORY_SAMPLES)
    for sample in range(1, MEMORY_SAMPLES + 1):
        await running.seconds(uploads.some(each))
        tell(Memory(workload.kind, sample * each, resident_mib()))


class Numbered:
    """Uploads of the same photos over and over, each of a listing of its own."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self._bodies = {hashlib.sha256(body).hexdigest(): body for body in bodies}
        self._hashes = list(self._bodies)
        self._listings = 0
        self._at = 0

    @property
    def bodies(self) -> Sequence[bytes]:
        return list(self._bodies.values())

    def next(self) -> image_pb2.ImageUploaded:
        sha256 = self._hashes[self._at % len(self._hashes)]
        self._at += 1
        self._listings += 1
        upload = image_pb2.ImageUploaded(
            listing_id=f"bench-{os.getpid()}-{self._listings}",
            revision=1,
            # One seller: its own photos again are no crime, so that the fraud scorer's answer stays the same.
            seller_id="bench",
            photo=listing_pb2.Photo(sha256=sha256, object_key=photo_key(sha256), size_bytes=len(self._bodies[sha256])),
        )
        upload.uploaded_at.GetCurrentTime()
        return upload

    def some(self, count: int) -> list[image_pb2.ImageUploaded]:
        return [self.next() for _ in range(count)]

    def rewind(self) -> None:
        """The next contender gets the same photos."""
        self._at = 0

    def body(self, upload: image_pb2.ImageUploaded) -> bytes:
        return self._bodies[upload.photo.sha256]


def as_event(topic: Topic, upload: image_pb2.ImageUploaded) -> Event:
    return event(topic, upload.listing_id, upload, id_parts=[upload.listing_id], source="bench")


def resident_mib() -> float:
    """Resident memory of this process, as Linux counts it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def tell(said: Rate | Memory) -> None:
    print(json.dumps({"what": type(said).__name__, **asdict(said)}), flush=True)


def _tasks(settings: WorkerSettings, names: list[str]) -> Sequence[AnyTask]:
    """Those of production. Imported here, so that the dummy's process needs no torch."""
    from services.fused.__main__ import fused

    return fused(settings, names).tasks


def _bodies(files: Sequence[str]) -> list[bytes]:
    return [Path(file).read_bytes() for file in files]


def _wait(futures: Sequence[Future[None]]) -> None:
    for future in futures:
        future.result()


def main() -> None:
    workload = Workload(**json.loads(sys.argv[1]))
    start_logging("bench", "ERROR")
    start_tracing("bench")
    try:
        uvloop.run(measure(workload))  # as a process of the fleet does
    except Poison as why:
        sys.exit(f"a photo cannot be used: {why}")


if __name__ == "__main__":
    main()
