"""What bench/gpu.py measures, and how it is printed."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from statistics import mean
from typing import Any, TypeVar

import numpy as np
import torch
from vitrine.events.v1 import image_pb2, listing_pb2

from cli.tables import number, show
from services.classification.task import ClassificationTask
from services.embedding.task import EmbeddingTask
from shared import metrics
from shared.errors import OutOfMemory
from shared.photos import Photo, Pixels
from shared.screen import Rows as Table
from shared.settings import Settings
from shared.stream.records import Assignment, Outcome, Record, Rejected
from shared.stream.task import Task
from shared.stream.worker import Limits, Worker
from shared.vision.decode import decode
from shared.vision.pack import TRUNK, Pack, open_pack
from shared.vision.reader import Reader
from shared.vision.runtime import (
    AGREEMENT,
    DeviceAbsent,
    Engine,
    Half,
    Rows,
    Torch,
    cosines,
    known_good,
    open_device,
    other_engines,
)
from shared.vision.trunk import Canvas, Network, detail_of, fitted, load_network
from studio import demo_catalogue

__all__ = ["DeviceAbsent", "Findings", "Sizes", "measure", "print_findings"]

SEED = 20_002  # neither the demo's photos nor those that are trained on
MIB = 2**20
REFERENCE_BATCH = 8
RENDERED = "rendered photos"

Finding = TypeVar("Finding")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    # Each is compared; the largest comes first, so that what it leaves in buffers would be seen in those after.
    batches: tuple[int, ...] = (64, 1, 2, 3, 4, 7, 8, 16, 31, 32, 33, 63)
    timed: tuple[int, ...] = (1, 8, 32, 128)
    seconds: float = 0.5  # for each
    renders: int = 32
    photos: int = 4096  # through the worker
    batch_photos: int = 32  # of the worker
    too_many: int = 256  # photos in a batch that shall not fit


ON_A_CPU = Sizes(batches=(3, 1, 2), timed=(1, 4), seconds=0.1, renders=4, photos=8, batch_photos=4, too_many=4)


@dataclass(frozen=True, slots=True)
class Built:
    """How long an engine took until it had answered on every canvas; why it can't be had."""

    engine: str
    seconds: float
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The least cosine with eager torch's features over the pictures of one batch; -1 where it failed."""

    engine: str
    pictures: str  # a canvas, or what else was shown
    batch: int
    cosine: float
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Rate:
    engine: str
    batch: int
    per_second: float
    peak_mib: float | None  # of device memory; None without a GPU


@dataclass(frozen=True, slots=True)
class Whole:
    """What came of photos through the worker."""

    engine: str
    photos: int
    per_second: float
    answered: int
    rejected: int
    batch_photos: int  # asked for
    batch_limit: int  # at the end
    busy_percent: float | None = None  # by nvidia-smi; None where there is none
    used_mib: float | None = None
    problem: str = ""

    @property
    def lost(self) -> int:
        return self.photos - self.answered


@dataclass(slots=True)
class Findings:
    device: str
    torch: str
    built: list[Built] = field(default_factory=list)
    agreements: list[Agreement] = field(default_factory=list)
    rates: list[Rate] = field(default_factory=list)
    whole: list[Whole] = field(default_factory=list)
    out_of_memory: list[Whole] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """One line for each thing that is not as it must be."""
        return [
            *(f"{one.engine} cannot be had: {one.problem}" for one in self.built if one.problem),
            *(
                f"{one.engine}, {one.batch} of {one.pictures}: {one.problem or f'cosine {one.cosine:.5f}'}"
                for one in self.agreements
                if one.problem or one.cosine < AGREEMENT
            ),
            *(
                f"{one.engine} through the worker: {one.lost} of {one.photos} photos without answers {one.problem}"
                for one in (*self.whole, *self.out_of_memory)
                if one.lost or one.problem
            ),
            *(
                f"{one.engine} ran out of memory, and the worker still takes {one.batch_limit} photos at once"
                for one in self.out_of_memory
                if one.batch_limit >= one.batch_photos
            ),
        ]


def measure(wanted: str, sizes: Sizes | None = None) -> Findings:
    """`wanted`: auto, cuda or cpu. Says on stderr what it is at. Raises DeviceAbsent and PackUnusable."""
    device = open_device(wanted)
    on_gpu = device.type == "cuda"
    sizes = sizes or (Sizes() if on_gpu else ON_A_CPU)
    pack = open_pack("builtin")
    network = load_network(pack.manifest.trunk.architectures, pack.folder / TRUNK)
    canvases = pack.manifest.trunk.canvases
    findings = Findings(torch.cuda.get_device_name() if on_gpu else "cpu", torch.__version__)
    _say(f"on {findings.device}" if on_gpu else "no GPU: as far as a CPU can, with fewer sizes")
    bodies = rendered(sizes.renders)
    plain = Torch(network, device)
    shown = known_batches(plain, canvases, max(sizes.batches), bodies)
    out_of_memory = run_out_of_memory if on_gpu else feign_running_out
    try:
        findings.out_of_memory += _said([out_of_memory(plain, network, device, pack, sizes.too_many)])
    except Exception as why:  # noqa: BLE001  whatever it is, it is what we are here to learn
        findings.out_of_memory += _said([Whole("out of memory", 0, 0.0, 0, 0, sizes.too_many, 0, problem=_named(why))])
    # One after the other, and what comes of each is said at once: the last one compiles for minutes, and a machine that
    # was lent may end before it is done.
    for engine in built(findings, plain, network, pack, device):
        findings.agreements += _said(agreements(engine, shown, sizes.batches))
        findings.rates += _said(rates(engine, canvases[0], sizes, on_gpu))
        findings.whole += _said([whole_path(engine, pack, bodies, sizes.photos, sizes.batch_photos)])
    return findings


def rendered(count: int) -> list[bytes]:
    """JPEGs as sellers send them."""
    return list(islice((photo for listing in demo_catalogue(SEED, count) for photo in listing.photos), count))


def built(findings: Findings, plain: Torch, network: Network, pack: Pack, device: torch.device) -> Iterator[Engine]:
    """Each engine that can be had, torch's own first. One that can't is a finding."""
    cache = Settings().home / "cache"
    builders: list[Callable[[], Engine]] = [lambda: plain]
    builders += other_engines(network, pack.manifest.files[TRUNK], device, 0, cache)
    each_canvas = [known_good(canvas, 1)[0] for canvas in pack.manifest.trunk.canvases]
    for at, build in enumerate(builders):
        started = time.perf_counter()
        try:
            engine = build()
            engine.features(each_canvas)
        except Exception as why:  # noqa: BLE001  whatever it is, it is what we are here to learn
            findings.built += _said([Built(f"engine {at}", time.perf_counter() - started, _named(why))])
            continue
        findings.built += _said([Built(engine.name, time.perf_counter() - started)])
        yield engine


Known = Mapping[str, tuple[Sequence[Pixels], Rows]]  # by what they are called: pictures, and eager torch's features


def known_batches(plain: Torch, canvases: Sequence[Canvas], count: int, bodies: Sequence[bytes]) -> Known:
    """Known-good pictures of each canvas, and rendered photos of all shapes."""
    shown: dict[str, Sequence[Pixels]] = {f"{c[0]} x {c[1]}": list(known_good(c, count)) for c in canvases}
    shown[RENDERED] = [fitted(decode(body, detail_of(canvases)), canvases) for body in bodies]
    return {name: (pictures, in_small_batches(plain, pictures)) for name, pictures in shown.items()}


def agreements(engine: Engine, shown: Known, batches: Sequence[int]) -> Iterator[Agreement]:
    for name, (pictures, wanted) in shown.items():
        for count in (len(pictures),) if name == RENDERED else batches:
            yield agreement(engine, name, pictures[:count], wanted[:count])


def in_small_batches(engine: Engine, pictures: Sequence[Pixels]) -> Rows:
    starts = range(0, len(pictures), REFERENCE_BATCH)
    return np.concatenate([engine.features(pictures[start : start + REFERENCE_BATCH]) for start in starts])


def agreement(engine: Engine, pictures: str, shown: Sequence[Pixels], wanted: Rows) -> Agreement:
    try:
        least = float(cosines(engine.features(shown), wanted).min())
    except Exception as why:  # noqa: BLE001  whatever it is, it is what we are here to learn
        return Agreement(engine.name, pictures, len(shown), -1.0, _named(why))
    return Agreement(engine.name, pictures, len(shown), least)


def rates(engine: Engine, canvas: Canvas, sizes: Sizes, on_gpu: bool) -> Iterator[Rate]:
    """Forward only, pictures to features, in host memory both."""
    for batch in sizes.timed:
        pictures = list(known_good(canvas, batch))
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        engine.features(pictures)
        started, rounds = time.perf_counter(), 0
        while (seconds := time.perf_counter() - started) < sizes.seconds:
            engine.features(pictures)
            rounds += 1
        peak = torch.cuda.max_memory_allocated() / MIB if on_gpu else None
        yield Rate(engine.name, batch, rounds * batch / seconds, peak)


# --- through the worker -----------------------------------------------------------------------------------------------


class Uploads:
    """A source of so many photos, that come as fast as they are taken."""

    def __init__(self, photos: int) -> None:
        self._photos = photos
        self.first_at = 0.0

    async def __aiter__(self) -> AsyncIterator[Record]:
        self.first_at = time.perf_counter()
        for place in range(self._photos):
            yield record(place)
            await asyncio.sleep(0)

    def on_receipt(self, tell: Callable[[Record], None]) -> None: ...

    async def commit(self, offsets: Mapping[Assignment, int]) -> None: ...

    def hold(self) -> None: ...

    def release(self) -> None: ...

    def stop(self) -> None: ...


class Answers:
    """A sink that counts."""

    def __init__(self) -> None:
        self.answered: dict[str, int] = {}
        self.rejected = 0

    async def send(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Rejected):
                self.rejected += 1
            else:
                self.answered[outcome.task] = self.answered.get(outcome.task, 0) + 1


def record(place: int) -> Record:
    photo = listing_pb2.Photo(sha256="00", object_key=str(place), size_bytes=1024)
    upload = image_pb2.ImageUploaded(listing_id=f"listing-{place}", revision=1, photo=photo)
    return Record(Assignment("uploads", 0), place, str(place).encode(), upload.SerializeToString())


async def through_the_worker(
    engine: Engine, pack: Pack, photo_of: Callable[[int, image_pb2.ImageUploaded], Photo], photos: int, batch: int
) -> Whole:
    """Decode, forward, category and vector of each, as production overlaps them."""
    reader = Reader(engine, pack)
    source, sink = Uploads(photos), Answers()

    async def fetch(record: Record) -> Photo:
        return photo_of(record.offset, image_pb2.ImageUploaded.FromString(record.value))

    # Nothing but memory shrinks a batch, and no photo is given up because the machine is slow.
    limits = Limits(
        batch_photos=batch,
        batch_seconds=3600,
        straggler_seconds=60,
        prepare_seconds=60,
        cpu_threads=os.cpu_count() or 1,
    )
    tasks: list[Task[Any, Any]] = [ClassificationTask(reader), EmbeddingTask(reader)]
    worker = Worker(source, fetch, tasks, sink, record(0), limits)
    problem = ""
    try:
        await worker.run()
    except Exception as why:  # noqa: BLE001  whatever it is, it is what we are here to learn
        problem = _named(why)
    finally:
        worker.close()
    seconds = time.perf_counter() - source.first_at
    answered = min(sink.answered.get(task.name, 0) for task in tasks)
    limit = int(metrics.WORKER.get_sample_value("vitrine_worker_batch_limit_photos") or 0)
    return Whole(engine.name, photos, photos / seconds, answered, sink.rejected, batch, limit, problem=problem)


def whole_path(engine: Engine, pack: Pack, bodies: Sequence[bytes], photos: int, batch: int) -> Whole:
    def rendered_photo(place: int, upload: image_pb2.ImageUploaded) -> Photo:
        return Photo(bodies[place % len(bodies)], upload, decode)

    with watched() as seen:
        whole = asyncio.run(through_the_worker(engine, pack, rendered_photo, photos, batch))
    if not seen:
        return whole
    return replace(whole, busy_percent=mean(busy for busy, _ in seen), used_mib=max(used for _, used in seen))


def run_out_of_memory(_: Engine, network: Network, device: torch.device, pack: Pack, too_many: int) -> Whole:
    """The process may hold what a quarter of the batch takes, and half of what lies between that and the whole."""
    canvas = pack.manifest.trunk.canvases[0]
    quarter, all_of_it = (held_for(Half(network, device), canvas, count) for count in (too_many // 4, too_many))
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((quarter + all_of_it) / 2 / total)
    try:
        return through_the_worker_alike(Half(network, device), pack, canvas, too_many)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def held_for(engine: Engine, canvas: Canvas, count: int) -> int:
    """Bytes of device memory that this process holds at most while it answers so many pictures."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    engine.features(list(known_good(canvas, REFERENCE_BATCH)) * (count // REFERENCE_BATCH))
    return torch.cuda.max_memory_reserved()


def feign_running_out(engine: Engine, _network: Network, _device: torch.device, pack: Pack, too_many: int) -> Whole:
    return through_the_worker_alike(Small(engine, too_many // 4), pack, pack.manifest.trunk.canvases[0], too_many)


class Small:
    """An engine that feigns a device without room for more than so many pictures."""

    def __init__(self, engine: Engine, room: int) -> None:
        self.name = f"{engine.name}, with room for {room}"
        self._engine = engine
        self._room = room

    def features(self, pictures: Sequence[Pixels]) -> Rows:
        if len(pictures) > self._room:
            raise OutOfMemory(f"{len(pictures)} pictures; room for {self._room}")
        return self._engine.features(pictures)


def through_the_worker_alike(engine: Engine, pack: Pack, canvas: Canvas, batch: int) -> Whole:
    """Batches of one canvas, so that what one takes is known."""
    (picture,) = known_good(canvas, 1)

    def photo(_place: int, upload: image_pb2.ImageUploaded) -> Photo:
        return Photo(b"", upload, lambda _body, _size: picture)

    return asyncio.run(through_the_worker(engine, pack, photo, 4 * batch, batch))


@contextmanager
def watched() -> Iterator[list[tuple[float, float]]]:
    """What nvidia-smi says ten times a second, once the block has ended: percent busy, and MiB used. [] without it."""
    seen: list[tuple[float, float]] = []
    command = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "-lms", "100"]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    except FileNotFoundError:
        yield seen
        return
    try:
        yield seen
    finally:
        process.terminate()
        said, _ = process.communicate()
    for line in said.splitlines():
        with suppress(ValueError):  # "[N/A]", and a line that was cut off
            busy, used = line.split(",")
            seen.append((float(busy), float(used)))


# --- what is printed --------------------------------------------------------------------------------------------------


def print_findings(findings: Findings) -> None:
    """Tables on standard output, then what failed."""
    print(f"{findings.device}, torch {findings.torch}, {os.cpu_count()} cores")
    show(_engines_table(findings))
    show(_rates_table(findings))
    show(_whole_table("whole path", findings.whole))
    show(_whole_table("out of memory", findings.out_of_memory))
    for line in findings.failures:
        print(f"FAILED: {line}")
    print(f"{len(findings.agreements)} batches compared, {len(findings.failures)} failures")


def _engines_table(findings: Findings) -> Table:
    table = Table("engine", number("ready after s"), number("batches"), number("least cosine"), number("of photos"))
    for one in findings.built:
        compared = [each for each in findings.agreements if each.engine == one.engine]
        photos = [f"{each.cosine:.6f}" for each in compared if each.pictures == RENDERED]
        least = min((each.cosine for each in compared), default=-1.0)
        table.add_row(one.engine, f"{one.seconds:.1f}", f"{len(compared)}", f"{least:.6f}", *photos)
    return table


def _rates_table(findings: Findings) -> Table:
    table = Table("forward only", number("batch"), number("photos/s"), number("ms a batch"), number("peak MiB"))
    for one in findings.rates:
        peak = "" if one.peak_mib is None else f"{one.peak_mib:.0f}"
        milliseconds = f"{one.batch / one.per_second * 1000:.2f}"
        table.add_row(one.engine, f"{one.batch}", f"{one.per_second:.0f}", milliseconds, peak)
    return table


def _whole_table(name: str, measured: Sequence[Whole]) -> Table:
    heads = ("photos/s", "answered", "batch", "limit after", "device busy", "used MiB")
    table = Table(name, *(number(head) for head in heads))
    for one in measured:
        busy = "" if one.busy_percent is None else f"{one.busy_percent:.0f} %"
        used = "" if one.used_mib is None else f"{one.used_mib:.0f}"
        answered = f"{one.answered} of {one.photos}"
        batches = (f"{one.batch_photos}", f"{one.batch_limit}")
        table.add_row(one.engine, f"{one.per_second:.0f}", answered, *batches, busy, used)
    return table


def _named(why: Exception) -> str:
    while isinstance(why, ExceptionGroup):
        why = why.exceptions[0]
    return f"{type(why).__name__}: {why}".splitlines()[0]


def _said(findings: Iterable[Finding]) -> Iterator[Finding]:
    for one in findings:
        _say(str(one))
        yield one


def _say(what: str) -> None:
    print(f"gpu-check: {what}", file=sys.stderr, flush=True)
