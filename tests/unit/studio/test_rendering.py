"""The rendered catalogue: its answers are known, so they had better be right."""

import re
from collections import Counter
from dataclasses import astuple
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pdqhash  # type: ignore[import-untyped]
import pytest

import shared
from studio.demo import SELLERS, DemoListing, canary_photo, demo_catalogue, edited
from studio.prints import LAYOUTS, MOTIFS
from studio.scenes import SURFACES
from studio.templates import DEMO, TRAINING, Collection
from studio.training import CARTON, PHONE, training_photos
from studio.wares import KINDS

LISTINGS = 60
COPY_DISTANCE = 31  # bits of PDQ up to which two photos count as copies
LOOKALIKE_DISTANCE = 60  # far enough that no threshold is near


@pytest.fixture(scope="module")
def catalogue() -> list[DemoListing]:
    return list(demo_catalogue(listings=LISTINGS))


def decoded(photo: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture


def distance(one: bytes, other: bytes) -> int:
    """PDQ bits in which two photos differ, mirrored and turned ones included."""
    first, _ = pdqhash.compute(cv2.cvtColor(decoded(one), cv2.COLOR_BGR2RGB))
    ways, _ = pdqhash.compute_dihedral(cv2.cvtColor(decoded(other), cv2.COLOR_BGR2RGB))
    return min(int(np.count_nonzero(first != way)) for way in ways)


def test_the_same_seed_gives_the_same_bytes(catalogue: list[DemoListing]) -> None:
    again = list(demo_catalogue(listings=6))
    assert [listing.photos for listing in again] == [listing.photos for listing in catalogue[:6]]
    assert list(islice(training_photos(3, 1), 4)) == list(islice(training_photos(3, 1), 4))


def test_another_seed_gives_other_photos(catalogue: list[DemoListing]) -> None:
    other = next(demo_catalogue(seed=8, listings=1))
    assert other.photos[0] != catalogue[0].photos[0]


def test_a_shorter_catalogue_is_the_beginning_of_a_longer_one(catalogue: list[DemoListing]) -> None:
    assert list(demo_catalogue(listings=3)) == catalogue[:3]


def test_there_are_as_many_listings_as_asked_for_each_with_its_own_reference(catalogue: list[DemoListing]) -> None:
    assert len(catalogue) == LISTINGS
    assert len({listing.reference for listing in catalogue}) == LISTINGS
    assert {listing.seller_id for listing in catalogue} == set(SELLERS)


def test_photos_are_jpegs_of_a_phone_s_shape(catalogue: list[DemoListing]) -> None:
    for listing in catalogue:
        assert 1 <= len(listing.photos) <= 3
        for photo in listing.photos:
            assert photo.startswith(b"\xff\xd8")
            assert min(decoded(photo).shape[:2]) >= 300
    assert any(len(listing.photos) == 3 for listing in catalogue)


def test_garments_cartons_and_phones_are_mixed(catalogue: list[DemoListing]) -> None:
    kinds = Counter(listing.expected.path[0] for listing in catalogue)
    assert kinds["garments"] >= LISTINGS // 2
    assert kinds["packages"] >= 5
    assert kinds["electronics"] >= 5
    assert len({listing.expected.path for listing in catalogue}) >= 9


def test_copies_honest_lookalikes_and_false_claims_are_planted(catalogue: list[DemoListing]) -> None:
    reasons = Counter(listing.expected.reason for listing in catalogue)
    assert reasons["copy"] == 6
    assert reasons["category_mismatch"] == 3
    assert sum(listing.expected.looks_like is not None for listing in catalogue) == 6
    for listing in catalogue:
        assert (listing.expected.decision == "allow") == (listing.expected.reason == "")


def test_a_copy_comes_after_its_original_and_from_another_seller(catalogue: list[DemoListing]) -> None:
    seen: dict[str, DemoListing] = {}
    for listing in catalogue:
        if listing.expected.copy_of is not None:
            assert seen[listing.expected.copy_of].seller_id != listing.seller_id
        seen[listing.reference] = listing


def test_copies_stay_within_the_distance_at_which_pdq_matches(catalogue: list[DemoListing]) -> None:
    by_reference = {listing.reference: listing for listing in catalogue}
    for listing in catalogue:
        if listing.expected.copy_of is not None:
            original = by_reference[listing.expected.copy_of].photos[0]
            assert listing.photos[0] != original
            assert distance(original, listing.photos[0]) <= COPY_DISTANCE


@pytest.mark.parametrize("edit", ["recompressed", "mirrored", "resized", "cropped"])
def test_every_edit_of_a_copier_leaves_a_copy(edit: str, catalogue: list[DemoListing]) -> None:
    photo = catalogue[0].photos[0]
    copy = edited(photo, edit, np.random.default_rng(1))
    assert copy != photo
    assert distance(photo, copy) <= COPY_DISTANCE


def test_lookalikes_are_far_from_what_they_look_like(catalogue: list[DemoListing]) -> None:
    by_reference = {listing.reference: listing for listing in catalogue}
    for listing in catalogue:
        if listing.expected.looks_like is not None:
            original = by_reference[listing.expected.looks_like]
            assert listing.expected.path == original.expected.path
            assert all(distance(photo, listing.photos[0]) > LOOKALIKE_DISTANCE for photo in original.photos)


def test_photos_of_honest_listings_are_no_copies_of_each_other(catalogue: list[DemoListing]) -> None:
    photos = [photo for listing in catalogue if listing.expected.copy_of is None for photo in listing.photos]
    pictures = [cv2.cvtColor(decoded(photo), cv2.COLOR_BGR2RGB) for photo in photos]
    hashes = np.array([pdqhash.compute(picture)[0] for picture in pictures], dtype=bool)
    for number, picture in enumerate(pictures):
        ways = np.array(pdqhash.compute_dihedral(picture)[0], dtype=bool)
        apart = (hashes[None, :number] != ways[:, None]).sum(axis=2)
        assert np.all(apart > COPY_DISTANCE)


def test_photos_have_enough_detail_for_a_hash(catalogue: list[DemoListing]) -> None:
    for listing in catalogue:
        for photo in listing.photos:
            _, quality = pdqhash.compute(cv2.cvtColor(decoded(photo), cv2.COLOR_BGR2RGB))
            assert quality >= 60


def test_false_claims_name_another_kind_of_thing(catalogue: list[DemoListing]) -> None:
    for listing in catalogue:
        if listing.expected.reason == "category_mismatch":
            assert listing.category not in listing.expected.path
            assert listing.expected.decisions == ("review",)


def test_what_is_printed_can_be_read(catalogue: list[DemoListing]) -> None:
    from rapidocr import RapidOCR
    from rapidocr.utils.output import RapidOCROutput

    reader = RapidOCR()
    cartons = [listing for listing in catalogue if listing.expected.path == CARTON][:2]
    phones = [listing for listing in catalogue if listing.expected.path == PHONE][:2]
    for listing in [*cartons, *phones]:
        output = reader(decoded(listing.photos[0]))
        assert isinstance(output, RapidOCROutput)
        read = re.sub(r"\s", "", " ".join(output.txts or ())).lower()
        assert set(listing.expected.attributes) >= {"brand"}
        for value, unit in listing.expected.attributes.values():
            assert f"{value}{unit}".lower().replace(" ", "") in read


def test_the_demo_shares_no_template_with_training() -> None:
    def shapes(collection: Collection) -> list[set[object]]:
        cuts = [(type(cut), *astuple(cut)[2:]) for cut in collection.cuts]
        return [
            {cut.name for cut in collection.cuts},
            {cut for cut in cuts if str(cut)},
            {box.name for box in collection.cartons},
            {astuple(box)[1:] for box in collection.cartons},
            {box.layout for box in collection.cartons},
            {box.motif for box in collection.cartons},
            {product.brand for product in collection.products},
            {product.name for product in collection.products},
            {handset.name for handset in collection.handsets},
            {handset.settings_style for handset in collection.handsets},
            {astuple(handset)[1:] for handset in collection.handsets},
            {brand for brand, _, _ in collection.phones},
            {name for _, name, _ in collection.phones},
            {collection.typeface},
            set(collection.colours.values()),
            set(collection.surfaces),
            set(collection.walls),
            {(ware.kind, ware.form) for ware in collection.wares},
            {ware.name for ware in collection.wares},
            {label.brand for label in (*collection.books, *collection.snacks)},
            {label.title for label in (*collection.books, *collection.snacks)},
            set(collection.makers),
        ]

    for ours, theirs in zip(shapes(DEMO), shapes(TRAINING), strict=True):
        assert ours
        assert ours.isdisjoint(theirs)


@pytest.mark.parametrize("collection", [DEMO, TRAINING], ids=["demo", "training"])
def test_templates_name_only_what_can_be_drawn(collection: Collection) -> None:
    assert {box.layout for box in collection.cartons} <= set(LAYOUTS)
    assert {product.motif for product in collection.products} <= {box.motif for box in collection.cartons}
    assert {box.motif for box in collection.cartons} <= set(MOTIFS)
    assert {name for name, _ in collection.surfaces} <= set(SURFACES)
    assert {ware.kind for ware in collection.wares} <= set(KINDS)
    assert all(ware.form in KINDS[ware.kind].forms for ware in collection.wares)


def test_training_covers_every_class_of_the_demo_equally() -> None:
    found = Counter(path for _, path in training_photos(seed=2, per_class=2))
    assert set(found.values()) == {2}
    assert set(found) >= {("garments", cut.label) for cut in DEMO.cuts} | {CARTON, PHONE}


def test_training_photos_decode_and_differ() -> None:
    photos = [photo for photo, _ in islice(training_photos(seed=4, per_class=2), 8)]
    assert len(set(photos)) == len(photos)
    assert all(min(decoded(photo).shape[:2]) >= 600 for photo in photos)


def test_the_canary_that_ships_is_a_small_photo_of_what_the_renderer_draws() -> None:
    shipped = (Path(shared.__file__).parent / "stream" / "canary.jpg").read_bytes()
    assert len(shipped) <= 40_000
    assert decoded(shipped).shape == (600, 450, 3)
    assert distance(shipped, canary_photo()) <= COPY_DISTANCE
