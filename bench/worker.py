"""What the worker costs: `python -m bench.worker`, or `--quick` to see that it runs.

It starts a Kafka and a Redis of its own and prints ratios, since rates of one machine differ from run to run:

- records: the worker with a task that does nothing ÷ a bare loop that consumes, produces and commits as safely, in
  batches of the same size. What the overlapped stages, the order and the bookkeeping cost per record.
- photos ÷ bare: each split worker and the fused one ÷ a bare decode and forward over the same photos in the same
  process, with the same prepare, batch size, threads and model, and the photos in memory already. The bare loop is run
  in two ways, one after the other and with the next batch decoded meanwhile, and the faster one counts. 1.0 means that
  fetching, publishing, committing and what a task concludes (OCR, hash bank) are free. On photos with text on them, as
  half of the rendered ones have, OCR alone takes most of the time of attributes and fused: look at the next column.
- photos ÷ whole: the same, but the bare loop also does all of the task's own work after the forward. What is missing to
  1.0 is the worker itself: the price of the broker, the store and the order.
- fused ÷ split: photos/s of the fused worker × the seconds that one photo costs the four split ones together.
- memory: resident memory of each process over `--memory-photos` photos through its worker, the bare loops' own
  included. Flat means that from the second sample on it grows by at most 5 %.

Each figure is the median over rounds of one round's ratio; within a round the contenders take turns.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import click
from confluent_kafka.admin import NewTopic
from rich.console import Console

from bench.contenders import BARE, BARE_AHEAD, BARE_BROKER, BARE_UPLOADED, BARE_WHOLE, WORKER, Memory, Rate, Workload
from cli.tables import number, show
from local.servers import KafkaServer, RedisServer, ServerFailed, kafka_jars
from local.supervisor import thread_environment
from shared.errors import Poison
from shared.photo_formats import SUFFIXES
from shared.screen import Rows
from shared.settings import Settings
from shared.stream.admin import admin, create_topics, once_ready
from shared.topics import TASKS
from shared.vision.decode import decode
from studio import demo_catalogue

DUMMY, FUSED = "dummy", "fused"
KINDS = (DUMMY, *TASKS, FUSED)
SEED = 20_001  # neither the demo's photos nor those that are trained on
FLAT = 0.05
# After the forward, where a bare decode and forward has nothing like it.
READS_TEXT = ("attributes", FUSED)
errors = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rounds: int = 5
    per_round: int = 320
    records: int = 10_000
    memory_photos: int = 2000
    photos: int = 1000  # different ones: what comes again and again from one seller costs the hash bank more


QUICK = Sizes(rounds=1, per_round=16, records=500, memory_photos=32, photos=8)


@dataclass(slots=True)
class Findings:
    """All that the processes said."""

    rates: list[Rate] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)

    def hear(self, line: str) -> None:
        said = json.loads(line)
        what = said.pop("what")
        if what == "Rate":
            self.rates.append(Rate(**said))
        else:
            self.memory.append(Memory(**said))

    def rate(self, kind: str, *contenders: str) -> float:
        """The median over rounds, of the fastest contender named; 0 when none was measured."""
        return max(statistics.median(self._rounds(kind, name) or [0.0]) for name in contenders)

    def ratio(self, kind: str, *bare: str) -> float:
        """Worker ÷ the bare one that is the fastest on the whole: the median over rounds. 0 when not measured."""
        fastest = max(bare, key=lambda name: self.rate(kind, name))
        pairs = zip(self._rounds(kind, WORKER), self._rounds(kind, fastest), strict=True)
        return statistics.median([worker / other for worker, other in pairs] or [0.0])

    def fused_to_split(self) -> float | None:
        """None unless all five were measured."""
        split = [self.rate(task, WORKER) for task in TASKS]
        fused = self.rate(FUSED, WORKER)
        return fused * sum(1 / rate for rate in split) if fused and all(split) else None

    def growth(self, kind: str) -> float | None:
        """Last sample ÷ second one, less 1. The first is taken before the caches and pools are full."""
        samples = [one.mib for one in self.memory if one.kind == kind]
        return samples[-1] / samples[1] - 1 if len(samples) > 2 else None

    def _rounds(self, kind: str, contender: str) -> list[float]:
        rates = {one.round: one.per_second for one in self.rates if (one.kind, one.contender) == (kind, contender)}
        return [rates[at] for at in sorted(rates)]


@click.command()
@click.option("--quick", is_flag=True, help="A minute instead of half an hour; its figures mean little.")
@click.option("--photos", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Real photos to use.")
@click.option("--only", "kinds", multiple=True, type=click.Choice(KINDS), help="Measure only these; repeatable.")
@click.option("--rounds", type=click.IntRange(1))
@click.option("--memory-photos", type=click.IntRange(0), help="0 leaves memory out.")
@click.option("--batch-photos", default=16, show_default=True, type=click.IntRange(1))
@click.option("--threads", default=os.cpu_count() or 1, show_default="all cores", type=click.IntRange(1))
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write every measurement as JSON.")
@click.option(
    "--at-least",
    type=float,
    help="Exit with 1 if a worker ÷ bare is below (÷ whole where text is read), or memory grows.",
)
def main(
    quick: bool,
    photos: Path | None,
    kinds: Sequence[str],
    rounds: int | None,
    memory_photos: int | None,
    batch_photos: int,
    threads: int,
    report: Path | None,
    at_least: float | None,
) -> None:
    """Measure the worker against bare loops, side by side, and print ratios."""
    sizes = QUICK if quick else Sizes()
    given = {"rounds": rounds, "memory_photos": memory_photos}
    sizes = Sizes(**{**asdict(sizes), **{name: value for name, value in given.items() if value is not None}})
    chosen = [kind for kind in KINDS if not kinds or kind in kinds]
    with tempfile.TemporaryDirectory(prefix="vitrine-bench-") as folder:
        files = chosen_photos(Path(folder) / "rendered", photos, sizes.photos) if chosen != [DUMMY] else []
        try:
            findings = measure(Path(folder), chosen, sizes, files, batch_photos, threads)
        except ServerFailed as why:
            raise click.ClickException(str(why)) from why
    if report:
        said = {"rates": [asdict(one) for one in findings.rates], "memory": [asdict(one) for one in findings.memory]}
        report.write_text(json.dumps({**said, "batch_photos": batch_photos, "threads": threads}, indent=2))
    print_findings(findings, chosen, batch_photos, threads)
    if at_least is not None and (problems := shortfalls(findings, chosen, at_least)):
        raise click.ClickException("; ".join(problems))


def measure(
    folder: Path, kinds: Sequence[str], sizes: Sizes, files: Sequence[Path], batch_photos: int, threads: int
) -> Findings:
    """One process after the other, so that each has all cores. Raises ServerFailed and click.ClickException."""
    findings = Findings()
    for kind in kinds:
        # A broker for each: a group starts at the earliest record, and those before are not its own.
        with servers(folder / kind) as (kafka, redis):
            workload = Workload(
                kind=kind,
                tasks=[] if kind == DUMMY else list(TASKS) if kind == FUSED else [kind],
                rounds=sizes.rounds,
                per_round=sizes.records if kind == DUMMY else sizes.per_round,
                memory_photos=sizes.memory_photos,
                batch_photos=batch_photos,
                threads=threads,
                kafka=kafka,
                redis=redis,
                photo_store=str(folder / "photos"),
                photos=[str(file) for file in files],
            )
            errors.print(f"measuring {kind} …")
            hear_out(workload, findings)
    return findings


@contextmanager
def servers(folder: Path) -> Iterator[tuple[str, str]]:
    """A Kafka with our topics and a Redis, both of this benchmark alone."""
    with (
        KafkaServer(folder / "kafka", kafka_jars(Settings().home)) as kafka,
        RedisServer(folder / "redis") as redis,
    ):
        create_topics(kafka.bootstrap)
        topic = NewTopic(BARE_UPLOADED.name, BARE_UPLOADED.partitions, 1, config=BARE_UPLOADED.config(1))
        client = admin(kafka.bootstrap)
        once_ready(lambda: client.create_topics([topic])[BARE_UPLOADED.name].result())
        yield kafka.bootstrap, redis.url


def hear_out(workload: Workload, findings: Findings) -> None:
    """Runs one process to its end. Raises click.ClickException when it failed; it has said why on stderr."""
    environment = {**os.environ, **thread_environment(workload.threads)}
    command = [sys.executable, "-m", "bench.contenders", json.dumps(asdict(workload))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            findings.hear(line)
            errors.print(f"  {line.strip()}", markup=False, highlight=False, style="dim", soft_wrap=True)
    if process.returncode:
        raise click.ClickException(f"the process that measured {workload.kind} failed; its reason stands above")


def chosen_photos(folder: Path, given: Path | None, count: int) -> list[Path]:
    """Files of photos that decode: the first `count` of the given folder, else rendered into `folder`."""
    if given:
        files = sorted(file for file in given.rglob("*") if file.suffix.lower() in SUFFIXES)
        return readable(spread(files, count), given)
    folder.mkdir()
    files = []
    bodies = (photo for listing in demo_catalogue(SEED, count) for photo in listing.photos)
    for at, body in enumerate(islice(bodies, count)):
        files.append(folder / f"{at}.jpg")
        files[-1].write_bytes(body)
    return files


def spread(files: Sequence[Path], count: int) -> list[Path]:
    """So many, evenly from all of them: a folder is often sorted by class."""
    return [files[at * len(files) // count] for at in range(count)] if len(files) > count else list(files)


def readable(files: Sequence[Path], given: Path) -> list[Path]:
    """Without those that a worker would reject. Raises click.ClickException when none is left."""
    sound = []
    for file in files:
        try:
            decode(file.read_bytes())
        except Poison as why:
            errors.print(f"left out: {file}: {why}", markup=False, highlight=False, soft_wrap=True)
        else:
            sound.append(file)
    if not sound:
        raise click.ClickException(f"no readable photo in {given}")
    return sound


# --- what is printed --------------------------------------------------------------------------------------------------


def print_findings(findings: Findings, kinds: Sequence[str], batch_photos: int, threads: int) -> None:
    """Tables on standard output."""
    click.echo(f"{threads} threads, batches of {batch_photos}; medians over rounds, contenders in turn")
    if DUMMY in kinds:
        rate, bare = findings.rate(DUMMY, WORKER), findings.rate(DUMMY, BARE_BROKER)
        click.echo(f"records/s with a task that does nothing: worker {rate:,.0f}, bare broker loop {bare:,.0f}")
        click.echo(f"records ratio: {findings.ratio(DUMMY, BARE_BROKER):.2f}")
    photo_kinds = [kind for kind in kinds if kind != DUMMY]
    if photo_kinds:
        show(_photo_table(findings, photo_kinds))
    if (fused := findings.fused_to_split()) is not None:
        click.echo(f"fused ÷ split, on the same cores: {fused:.2f}")
    if findings.memory:
        show(_memory_table(findings, kinds))


def shortfalls(findings: Findings, kinds: Sequence[str], at_least: float) -> list[str]:
    """One line per figure that is not as it should be."""
    compared = {kind: _expected_of(kind) for kind in kinds if kind != DUMMY}
    ratios = {kind: findings.ratio(kind, *bare) for kind, (_, *bare) in compared.items()}
    slow = [f"{kind} ÷ {compared[kind][0]} is {ratio:.2f}" for kind, ratio in ratios.items() if ratio < at_least]
    growths = {kind: findings.growth(kind) or 0.0 for kind in kinds}
    return slow + [f"memory of {kind} grew by {growth:.0%}" for kind, growth in growths.items() if growth > FLAT]


def _expected_of(kind: str) -> tuple[str, ...]:
    """Word and contenders that a kind is held to. Reading text takes longer than everything else together."""
    return ("whole", BARE_WHOLE) if kind in READS_TEXT else ("bare", BARE, BARE_AHEAD)


def _photo_table(findings: Findings, kinds: Sequence[str]) -> Rows:
    names = ("worker photos/s", "bare photos/s", "worker ÷ bare", "whole photos/s", "worker ÷ whole")
    table = Rows("worker", *(number(name) for name in names))
    for kind in kinds:
        table.add_row(
            kind,
            f"{findings.rate(kind, WORKER):.1f}",
            f"{findings.rate(kind, BARE, BARE_AHEAD):.1f}",
            f"{findings.ratio(kind, BARE, BARE_AHEAD):.2f}",
            f"{findings.rate(kind, BARE_WHOLE):.1f}",
            f"{findings.ratio(kind, BARE_WHOLE):.2f}",
        )
    return table


def _memory_table(findings: Findings, kinds: Sequence[str]) -> Rows:
    first = [one for one in findings.memory if one.kind == findings.memory[0].kind]
    table = Rows("MiB resident after", *(number(f"{one.photos}") for one in first), number("growth"))
    for kind in kinds:
        samples = [f"{one.mib:.0f}" for one in findings.memory if one.kind == kind]
        growth = findings.growth(kind)
        table.add_row(kind, *samples, "" if growth is None else f"{growth:+.1%}")
    return table


if __name__ == "__main__":
    main()
