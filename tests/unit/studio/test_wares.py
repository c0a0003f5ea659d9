"""Wares: solid things, lit and photographed, whose place in the catalogue depends on what a pack knows."""

import re
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from studio import photographs
from studio.cloth import Colour
from studio.daylight import Light, framed, seen
from studio.demo import DemoListing, demo_catalogue
from studio.paints import Label, Paint
from studio.rooms import Pinhole
from studio.solids import (
    PAPER,
    Solid,
    Surface,
    ball,
    disc,
    face,
    lofted,
    moved,
    normals,
    painted,
    slab,
    spline,
    standing,
    tube,
    turned,
)
from studio.templates import DEMO, TRAINING, Collection
from studio.training import training_photos
from studio.wares import KINDS, Path

LISTINGS = 20
KNOWN = {kind.path for kind in KINDS.values()}
RED: Colour = (0.8, 0.1, 0.1)
GREY: Colour = (0.6, 0.6, 0.6)
PAINT = Paint((0.2, 0.35, 0.6), (0.9, 0.8, 0.3), Label("Acme", "Acme", "100 g"), "rubik")


@pytest.fixture(scope="module")
def catalogue() -> list[DemoListing]:
    return list(demo_catalogue(listings=LISTINGS, known=KNOWN))


def decoded(photo: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture


def wares_of(listings: list[DemoListing]) -> Iterator[DemoListing]:
    """Those that their sellers made, not copied."""
    return (one for one in listings if one.expected.path in KNOWN and one.expected.copy_of is None)


# --- the catalogue ----------------------------------------------------------------------------------------------------


def test_without_known_wares_the_catalogue_has_none() -> None:
    assert KNOWN.isdisjoint(one.expected.path for one in demo_catalogue(listings=8))


def test_only_wares_that_are_known_are_offered() -> None:
    scissors: set[Path] = {("tools", "scissors")}
    offered = [one for one in demo_catalogue(listings=8, known=scissors) if one.expected.path in KNOWN]
    assert len(offered) == 3
    assert {one.expected.path for one in offered} == scissors


def test_listings_that_are_no_wares_are_the_same_with_and_without(catalogue: list[DemoListing]) -> None:
    alike = [one for one in demo_catalogue(listings=9) if catalogue[int(one.reference[5:]) - 1] == one]
    assert len(alike) == 9 - sum(one.expected.path in KNOWN for one in catalogue[:9])
    assert len(alike) == 6


def test_wares_are_offered_by_several_departments_in_several_languages(catalogue: list[DemoListing]) -> None:
    offered = list(wares_of(catalogue))
    assert len(offered) >= LISTINGS // 4
    assert len({one.expected.path[0] for one in offered}) >= 3
    english = {kind.words[0] for kind in KINDS.values()}
    assert {one.category in english for one in offered if one.expected.decision == "allow"} == {True, False}


def test_a_ware_s_claims_name_its_kind(catalogue: list[DemoListing]) -> None:
    words = {kind.path: kind.words for kind in KINDS.values()}
    for one in wares_of(catalogue):
        assert one.category in words[one.expected.path]
        assert one.title


def test_what_a_packet_of_crisps_says_can_be_read() -> None:
    from rapidocr import RapidOCR
    from rapidocr.utils.output import RapidOCROutput

    reader, right = RapidOCR(), 0
    design = next(ware for ware in DEMO.wares if ware.kind == "crisps")
    for number in range(4):
        random = np.random.default_rng(number)
        label = DEMO.label("crisps", random)
        paint = Paint(DEMO.colours["red"], DEMO.colours["yellow"], label, DEMO.typeface)
        output = reader(decoded(photographs.ware(design, paint, *DEMO.setting(random), random)))
        assert isinstance(output, RapidOCROutput)
        right += label.brand.lower() in re.sub(r"\s", "", " ".join(output.txts or ())).lower()
    # Foil has creases and highlights: not each can be read.
    assert right >= 3


def test_the_training_photos_have_wares_only_where_they_are_asked_for() -> None:
    plain = list(training_photos(seed=6, per_class=1))
    with_scissors = list(training_photos(seed=6, per_class=1, wares=["scissors"]))
    assert with_scissors[:-1] == plain
    assert with_scissors[-1][1] == ("tools", "scissors")


def test_a_kind_s_training_photos_do_not_depend_on_what_else_is_asked_for() -> None:
    first = next(photo for photo, path in training_photos(3, 1, ["scissors"]) if path == ("tools", "scissors"))
    beside = next(photo for photo, path in training_photos(3, 1, ["mug", "scissors"]) if path == ("tools", "scissors"))
    assert first == beside


@pytest.mark.parametrize("kind", ["unicorn", "football"])  # which the demo alone has
def test_a_kind_that_is_not_drawn_for_training_is_refused(kind: str) -> None:
    with pytest.raises(KeyError, match=kind):
        next(training_photos(1, 1, [kind]))


def test_every_kind_has_a_design() -> None:
    assert {ware.kind for collection in (DEMO, TRAINING) for ware in collection.wares} == set(KINDS)


@pytest.mark.parametrize("collection", [DEMO, TRAINING], ids=["demo", "training"])
def test_labels_and_settings_are_the_collection_s_own(collection: Collection) -> None:
    random = np.random.default_rng(1)
    assert collection.label("book", random) in collection.books
    assert collection.label("crisps", random).quantity
    assert collection.label("mug", random).brand in collection.makers
    setting, wall = collection.setting(random)
    assert setting in collection.surfaces
    assert wall in collection.walls


# --- drawing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "form"), [(name, form) for name, kind in KINDS.items() for form in kind.forms], ids=lambda one: str(one)
)
def test_every_form_of_every_kind_is_a_sound_solid(kind: str, form: str) -> None:
    solid = standing(KINDS[kind].draw(form, PAINT, np.random.default_rng(2)))
    every = np.vstack([surface.points.reshape(-1, 3) for surface in solid])
    extent = every.max(0) - every.min(0)
    assert np.isfinite(every).all()
    assert abs(every[:, 1].min()) < 1e-5
    assert 0.3 < extent.max() < 4
    for surface in solid:
        assert surface.points.dtype == np.float32
        assert surface.texture.dtype == np.float32
        assert surface.texture.shape[2] == 3
        assert surface.texture.min() >= 0
        assert surface.texture.max() < 2


def camera_of(solid: Solid, pitch: float = 0.3) -> Pinhole:
    return framed(solid, (200, 160), pitch, 0.7, np.random.default_rng(1))


LIGHT = Light(np.array([0.0, 0.8, -0.6]), 0.7, 0.4)


def test_a_thing_is_framed_whole_and_fills_its_share() -> None:
    solid = standing([ball(0.5, painted(RED), PAPER)])
    alpha = seen(solid, camera_of(solid), LIGHT, GREY).layer.alpha
    rows, columns = np.flatnonzero(alpha.max(1) > 0.5), np.flatnonzero(alpha.max(0) > 0.5)
    assert columns[-1] - columns[0] + 1 == pytest.approx(0.7 * 160, abs=4)
    assert rows[0] > 0 and rows[-1] < 199


def test_a_closed_surface_has_no_holes() -> None:
    solid = standing([ball(0.5, painted(RED), PAPER)])
    alpha = seen(solid, camera_of(solid), LIGHT, GREY).layer.alpha
    whole = (alpha > 0.5).astype(np.uint8)
    outline, _ = cv2.findContours(whole, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    assert len(outline) == 1
    assert alpha[cv2.erode(whole, np.ones((5, 5), np.uint8)) > 0].min() > 0.99


def test_what_is_in_front_hides_what_is_behind() -> None:
    red, grey = (
        moved(face(1, 1, painted(RED), PAPER), (0, 0, -0.3)),
        moved(face(1, 1, painted(GREY), PAPER), (0, 0, 0.3)),
    )
    for solid in ([*red, *grey], [*grey, *red]):
        picture = seen(solid, camera_of(solid, 0.0), LIGHT, GREY).layer.rgb
        r, g, _ = picture[100, 80]
        assert r > 3 * g


def test_the_side_towards_the_light_is_brighter() -> None:
    solid = standing([ball(0.5, painted(GREY), PAPER)])
    left = Light(np.array([-0.8, 0.6, 0.0]), 0.7, 0.4)
    camera = camera_of(solid)
    layer = seen(solid, camera, left, GREY).layer
    x, y = (round(place) for place in camera.project(np.array([[0.0, 0.5, 0.0]]))[0])
    assert layer.rgb[y, x - 40].mean() > 1.5 * layer.rgb[y, x + 40].mean()


def test_one_part_shades_another() -> None:
    floor = slab(disc(1.0), 0.05, painted(GREY), PAPER)
    roof = moved(slab(disc(0.6), 0.05, painted(GREY), PAPER), (0, 0.8, 0))
    above = Light(np.array([0.0, 1.0, -0.001]), 0.7, 0.4)
    camera = camera_of([floor, *roof], 0.5)
    x, y = (round(place) for place in camera.project(np.array([[0.0, 0.05, -0.3]]))[0])
    shaded = seen([floor, *roof], camera, above, GREY).layer.rgb[y, x].mean()
    alone = seen([floor], camera, above, GREY).layer.rgb[y, x].mean()
    assert shaded < 0.7 * alone


def test_the_ground_is_dark_under_a_thing_and_away_from_the_light() -> None:
    solid = standing([turned([(0.0, 0.0), (0.3, 0.0), (0.3, 1.0), (0.0, 1.0)], painted(RED), PAPER, sharp=True)])
    camera = camera_of(solid, 0.6)
    shadow = seen(solid, camera, Light(np.array([-0.7, 0.7, -0.1]), 0.7, 0.4), GREY).shadow
    right, left = (camera.project(np.array([[x, 0.0, 0.0]]))[0].round().astype(int) for x in (0.55, -0.55))
    assert shadow[right[1], right[0]] > 2 * shadow[left[1], left[0]]


@pytest.mark.parametrize(
    "surface",
    [
        ball(0.5, painted(RED), PAPER),
        turned([(0.3, 0.0), (0.5, 0.5), (0.3, 1.0)], painted(RED), PAPER),
        lofted([(0.0, 0.4, 0.2), (0.5, 0.5, 0.3), (1.0, 0.4, 0.2)], painted(RED), PAPER),
        tube(spline([(0, 0, 0), (0, 1, 0), (1, 1, 0)], 30), 0.1, painted(RED), PAPER),
        slab(disc(0.5), 0.1, painted(RED), PAPER),
    ],
    ids=["ball", "turned", "lofted", "tube", "slab"],
)
def test_normals_are_unit_vectors(surface: Surface) -> None:
    assert np.allclose(np.linalg.norm(normals(surface.points), axis=2), 1, atol=1e-3)


def test_print_on_a_turned_thing_reads_from_left_to_right() -> None:
    texture = np.full((40, 400, 3), 0.9, np.float32)
    texture[:, 160:200] = RED  # left of the middle, which is the front
    solid = [turned([(0.5, 0.0), (0.5, 1.0)], texture, PAPER, sharp=True)]
    picture = seen(solid, camera_of(solid, 0.0), LIGHT, GREY).layer.rgb
    redness = (picture[..., 0] - picture[..., 1]).sum(0)
    assert redness[:80].sum() > 10 * max(0.01, float(redness[80:].sum()))
