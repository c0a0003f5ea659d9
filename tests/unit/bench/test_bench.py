"""The benchmark's own arithmetic, and that its bare loops do the work that they are timed for."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import click
import pytest
from PIL import Image
from vitrine.events.v1 import image_pb2

from bench.contenders import BARE, BARE_AHEAD, BARE_WHOLE, WORKER, BareLoop, Memory, Numbered, Rate
from bench.worker import Findings, readable, shortfalls, spread
from shared.photos import Photo
from shared.stream.task import Finding


class Counting:
    """A task that notes which photos it saw in which verb, and how large its batches were."""

    name = "counting"

    def __init__(self) -> None:
        self.seen: dict[str, Counter[str]] = {verb: Counter() for verb in ("prepare", "infer", "conclude")}
        self.batches: list[int] = []

    def warm_up(self) -> None: ...

    def prepare(self, photo: Photo) -> str:
        self.seen["prepare"][photo.upload.listing_id] += 1
        return photo.upload.listing_id

    def infer(self, photos: Sequence[Photo], inputs: Sequence[str]) -> Sequence[str]:
        assert [photo.upload.listing_id for photo in photos] == list(inputs)
        self.seen["infer"].update(inputs)
        self.batches.append(len(photos))
        return inputs

    def takes_long(self, found: str) -> bool:
        return False

    def conclude(self, photo: Photo, found: str) -> Sequence[Finding]:
        assert photo.upload.listing_id == found
        self.seen["conclude"][found] += 1
        return []


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_a_bare_loop_does_each_photo_once_in_batches_of_the_size_asked_for(ahead: bool, whole: bool) -> None:
    task = Counting()
    photos = [(b"", image_pb2.ImageUploaded(listing_id=str(n))) for n in range(70)]
    with ThreadPoolExecutor(2) as before, ThreadPoolExecutor(1) as device, ThreadPoolExecutor(2) as after:
        assert BareLoop([task], 16, before, device, after).seconds(photos, ahead, whole) > 0
    once = Counter(str(n) for n in range(70))
    assert task.seen["prepare"] == task.seen["infer"] == once
    assert task.seen["conclude"] == (once if whole else Counter())
    assert task.batches == [16, 16, 16, 16, 6]


def test_contenders_get_the_same_photos_under_new_listings() -> None:
    uploads = Numbered([b"one", b"two", b"three"])
    first = uploads.some(2)
    uploads.rewind()
    second = uploads.some(2)
    assert [each.photo.sha256 for each in first] == [each.photo.sha256 for each in second]
    assert len({each.listing_id for each in (*first, *second)}) == 4
    assert uploads.body(first[1]) == b"two"


def found(worker: Sequence[float], bare: Sequence[float], ahead: Sequence[float], kind: str = "fraud") -> Findings:
    return Findings(
        [
            Rate(kind, at, name, rate)
            for name, rates in ((WORKER, worker), (BARE, bare), (BARE_AHEAD, ahead))
            for at, rate in enumerate(rates)
        ]
    )


def test_the_ratio_is_the_median_over_rounds_against_the_faster_bare_loop() -> None:
    findings = found(worker=[8, 9, 3], bare=[10, 5, 10], ahead=[5, 10, 5])
    assert findings.ratio("fraud", BARE, BARE_AHEAD) == 0.8


def test_fused_is_compared_with_what_a_photo_costs_all_four() -> None:
    findings = Findings([Rate(task, 0, WORKER, 20) for task in ("classification", "attributes", "embedding", "fraud")])
    assert findings.fused_to_split() is None
    findings.rates.append(Rate("fused", 0, WORKER, 15))
    assert findings.fused_to_split() == pytest.approx(3.0)


def test_growth_is_counted_from_the_second_sample() -> None:
    samples = [Memory("fraud", at, mib) for at, mib in enumerate((500, 800, 810, 840))]
    assert Findings(memory=samples).growth("fraud") == pytest.approx(0.05)


def test_a_slow_or_growing_worker_is_named() -> None:
    findings = found(worker=[7], bare=[10], ahead=[9])
    findings.memory = [Memory("fraud", at, mib) for at, mib in enumerate((500, 800, 900))]
    assert shortfalls(findings, ["fraud"], 0.8) == ["fraud ÷ bare is 0.70", "memory of fraud grew by 12%"]
    assert shortfalls(found([9], [10], [9]), ["fraud"], 0.8) == []


def test_a_worker_that_reads_text_is_held_to_a_loop_that_reads_it_too() -> None:
    findings = found([2], [30], [30], kind="attributes")
    findings.rates.append(Rate("attributes", 0, BARE_WHOLE, 2.2))
    assert shortfalls(findings, ["attributes"], 0.8) == []


def test_photos_are_taken_evenly_from_a_sorted_folder() -> None:
    files = [Path(str(n)) for n in range(10)]
    assert spread(files, 5) == [Path(str(n)) for n in (0, 2, 4, 6, 8)]
    assert spread(files, 20) == files


def test_photos_that_no_worker_can_read_are_left_out(tmp_path: Path) -> None:
    body = BytesIO()
    Image.new("RGB", (64, 64), "red").save(body, "JPEG")
    (tmp_path / "good.jpg").write_bytes(body.getvalue())
    (tmp_path / "bad.jpg").write_bytes(b"text")
    assert readable([tmp_path / "good.jpg", tmp_path / "bad.jpg"], tmp_path) == [tmp_path / "good.jpg"]
    with pytest.raises(click.ClickException, match="no readable photo"):
        readable([tmp_path / "bad.jpg"], tmp_path)
