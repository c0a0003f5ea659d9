"""A pack whose categories have other names and another tree keeps its brands, audience and contradictions."""

from typing import Any

import numpy as np
import pytest
from vitrine.events.v1 import image_pb2

from services.attributes.task import AttributesTask
from services.fraud.task import FraudTask
from shared.vision.pack import Manifest, PackUnusable
from tests.fakes_vision import BUILTIN, FakeBank, FakeReader, FakeRegions, FakeText, jpeg, line, photo_of

HANDY, MILCH = ("Technik", "Mobil", "Handy"), ("Supermarkt", "Milch")
JACKE, STIEFEL = ("Mode", "Damen", "Jacke"), ("Mode", "Schuhe", "Stiefel")
CATEGORIES: list[dict[str, Any]] = [
    {"path": [], "attributes": ["colour"]},
    {"path": ["Mode"], "taxonomy": "aa", "attributes": ["audience", "size"], "bare_sizes": True},
    {"path": ["Mode", "Damen"], "taxonomy": "aa-1"},
    {"path": ["Mode", "Schuhe"], "taxonomy": "aa-8"},
    {
        "path": ["Supermarkt"],
        "taxonomy": "fb",
        "attributes": ["brand", "volume"],
        "brands": ["groceries"],
    },
    {
        "path": ["Technik", "Mobil"],
        "taxonomy": "el-4-8",
        "attributes": ["brand", "memory"],
        "brands": ["phones"],
        "largest_print_is_brand": True,
    },
    {"path": ["Technik"], "taxonomy": "el"},
    *({"path": leaf, "no_taxonomy": "one like all above it"} for leaf in (HANDY, MILCH, JACKE, STIEFEL)),
]


def german(**changes: object) -> Manifest:
    said = BUILTIN.model_dump() | {
        "name": "kaufhaus",
        "taxonomy": [HANDY, MILCH, JACKE, STIEFEL],
        "categories": CATEGORIES,
        "temperatures": {"Mode": 1.5},
    }
    return Manifest.model_validate(said | changes)


PICTURE = jpeg(np.random.default_rng(1).integers(0, 255, (240, 240, 3)).astype(np.uint8))


def attributes(path: tuple[str, ...], *texts: str) -> dict[str, tuple[str, str]]:
    lines = (line(text, top=0.2 * n + 0.1) for n, text in enumerate(texts))
    task = AttributesTask(FakeReader(*path, manifest=german(), audience=("kids", 0.9)), FakeRegions(), FakeText(*lines))
    photo = photo_of(PICTURE)
    task.prepare(photo)
    (found,) = task.infer([photo], [None])
    (finding,) = task.conclude(photo, found)
    message = finding.message
    assert isinstance(message, image_pb2.ImageAttributed)
    return {one.name: (one.value, one.unit) for one in message.attributes if one.name != "colour"}


def test_its_phones_have_makers_and_memory_and_its_milk_another_list_of_brands() -> None:
    assert attributes(HANDY, "SAMSUNG", "128 GB") == {"brand": ("Samsung", ""), "memory": ("128", "GB")}
    assert attributes(HANDY, "Zyntrix", "128 GB")["brand"] == ("Zyntrix", "")
    assert attributes(MILCH, "Oatly", "1 L") == {"brand": ("Oatly", ""), "volume": ("1", "l")}
    assert "brand" not in attributes(MILCH, "SAMSUNG", "1 L")


def test_its_garments_have_an_audience_and_sizes_that_stand_alone() -> None:
    assert attributes(JACKE, "XL") == {"audience": ("kids", ""), "size": ("XL", "")}


@pytest.mark.parametrize(
    ("claim", "path", "reviewed"),
    [
        ("smartphone", JACKE, True),
        ("Schuhe", HANDY, True),
        ("Schuhe", STIEFEL, False),
        ("Kleidung", JACKE, False),
        ("shoes", JACKE, True),
        ("phone", ("Mode",), True),
        ("shoes", ("Mode",), False),
        ("milk", MILCH, False),
        ("dress", MILCH, True),
    ],
)
def test_claims_are_compared_with_what_its_categories_mean(claim: str, path: tuple[str, ...], reviewed: bool) -> None:
    task = FraudTask(FakeReader(*path, manifest=german()), FakeBank())
    photo = photo_of(PICTURE, category=claim)
    task.prepare(photo)
    (found,) = task.infer([photo], [None])
    scored = task.conclude(photo, found)[0].message
    assert isinstance(scored, image_pb2.ImageScored)
    assert (scored.fraud.decision == image_pb2.Fraud.DECISION_REVIEW) is reviewed


def test_brands_that_no_service_knows_stop_it_at_start() -> None:
    spelled_wrong = [one | {"brands": ["grocers"]} if one["path"] == ["Supermarkt"] else one for one in CATEGORIES]
    reader = FakeReader(manifest=german(categories=spelled_wrong))
    with pytest.raises(PackUnusable, match="unknown lists of brands grocers"):
        AttributesTask(reader, FakeRegions(), FakeText())
