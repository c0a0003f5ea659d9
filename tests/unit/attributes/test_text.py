"""The real text reader on drawn labels."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from rapidocr.ch_ppocr_rec import TextRecOutput

from services.attributes.reading import ReadAttribute, attributes_in
from services.attributes.text import LINES_COMPARED, MOST_LINES, MOST_LINES_WIDE, Line, TextReader
from shared.photos import Pixels
from shared.vision.decode import decode
from shared.vision.pack import Meaning
from studio.demo import demo_catalogue
from tests.fakes_vision import BUILTIN


def label(*texts: str, width: int = 800, height: int = 600) -> Pixels:
    """Dark print on light, one text under the other."""
    picture = Image.new("RGB", (width, height), (238, 234, 225))
    draw = ImageDraw.Draw(picture)
    size = min(height // (len(texts) * 2 + 1), width // 10)
    for n, text in enumerate(texts):
        draw.text((width * 0.1, height * (n + 0.5) / len(texts)), text, (30, 40, 60), ImageFont.load_default(size))
    return np.asarray(picture, dtype=np.uint8)


@pytest.fixture(scope="module")
def reader() -> TextReader:
    return TextReader()


def test_printed_lines_are_read_from_top_to_bottom_with_their_boxes(reader: TextReader) -> None:
    lines = reader.read(label("Dunmere", "Oat Drink", "500 ml"))
    assert [line.text.replace(" ", "").lower() for line in lines] == ["dunmere", "oatdrink", "500ml"]
    for line in lines:
        assert 0 <= line.left < line.right <= 1
        assert 0 <= line.top < line.bottom <= 1
        assert line.confidence > 0.8


def test_a_large_photo_is_read_at_a_bounded_size_and_its_boxes_still_fit(reader: TextReader) -> None:
    small = label("SAMSUNG", "128 GB")
    large = np.asarray(cv2.resize(small, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC), np.uint8)
    (one, _), (other, _) = reader.read(small), reader.read(large)
    assert other.text == one.text
    assert other.left == pytest.approx(one.left, abs=0.03)
    assert other.bottom == pytest.approx(one.bottom, abs=0.03)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (40, 3000), (32, 30_000), (30_000, 32), (300, 300)])
def test_a_photo_without_text_has_no_lines(reader: TextReader, shape: tuple[int, int]) -> None:
    assert reader.read(np.full((*shape, 3), 200, np.uint8)) == []


@pytest.mark.parametrize("shape", [(32, 30_000), (30_000, 32)])
def test_a_sliver_is_not_shown_to_the_engine(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Which would make a picture of 600 MiB of it."""
    reader = TextReader()
    monkeypatch.setattr(reader, "_engine", lambda: None)
    assert reader.read(np.full((*shape, 3), 200, np.uint8)) == []


def page(size: int = 8) -> Pixels:
    """Print all over, as on the back of a package or a page of a book."""
    picture = Image.new("RGB", (960, 960), "white")
    draw = ImageDraw.Draw(picture)
    for y in range(0, 960, 12):
        for x in range(0, 960, 60):
            draw.text((x, y), f"Ab{x * y % 997:03}", "black", ImageFont.load_default(size))
    return np.asarray(picture, np.uint8)


@dataclass
class Counted:
    """What the recogniser is shown, and no more is asked of it."""

    lines: list[int] = field(default_factory=list)  # each time
    wide: int = 0

    def __call__(self, shown: Sequence[Pixels]) -> TextRecOutput:
        self.lines.append(len(shown))
        self.wide += sum(max(320, 48 * line.shape[1] // line.shape[0]) for line in shown)
        return TextRecOutput(txts=["x"] * len(shown), scores=[0.5] * len(shown))  # type: ignore[arg-type]


@pytest.mark.parametrize("quarters", [0, 1])
def test_a_dense_page_costs_as_much_as_the_lines_that_may_be_read(
    quarters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand of them held a thread for 26 seconds."""
    reader, counted = TextReader(), Counted()
    monkeypatch.setattr(reader._engine(), "recognize_txt", counted)
    reader.read(np.ascontiguousarray(np.rot90(page(), quarters)))
    # Once as it is, its largest lines turned and mirrored, once as they say, and sidelong ones turned over.
    assert max(counted.lines) == MOST_LINES
    assert sum(counted.lines) <= 3 * MOST_LINES + 4 * LINES_COMPARED
    assert counted.wide <= 3 * MOST_LINES_WIDE + 4 * LINES_COMPARED * 960


def test_lines_are_read_in_so_far_as_they_are_not_too_wide_together(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.new("RGB", (960, 960), "white")
    draw = ImageDraw.Draw(picture)
    for y in range(0, 960, 14):
        draw.text((2, y), " ".join(f"Ab{x * y % 997:03}" for x in range(0, 960, 40)), "black")
    reader, counted = TextReader(), Counted()
    monkeypatch.setattr(reader._engine(), "recognize_txt", counted)
    reader.read(np.asarray(picture, np.uint8))
    assert 5 < counted.lines[0] < 30


def test_of_many_lines_the_largest_are_read(reader: TextReader) -> None:
    picture = page().copy()
    picture[300:500, 60:900] = label("Dunmere", width=840, height=200)
    assert "dunmere" in texts(reader.read(picture))


def test_many_threads_read_what_one_reads(reader: TextReader) -> None:
    pictures = [label(f"Code {n}{n}{n}") for n in range(4)]
    alone = [reader.read(picture) for picture in pictures]
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(reader.read, pictures)) == alone


TURNS: dict[str, Callable[[Pixels], Pixels]] = {
    "upside down": lambda photo: np.rot90(photo, 2),
    "lying on its left side": lambda photo: np.rot90(photo, 1),
    "lying on its right side": lambda photo: np.rot90(photo, 3),
    "mirrored": lambda photo: photo[:, ::-1],
    "mirrored and upside down": lambda photo: photo[::-1],
}


def texts(lines: Sequence[Line]) -> list[str]:
    return [line.text.replace(" ", "").lower() for line in lines]


@pytest.mark.parametrize("turn", TURNS)
def test_text_is_read_however_its_photo_is_turned(reader: TextReader, turn: str) -> None:
    upright = reader.read(label("Dunmere", "Oat Drink", "200 ml"))
    turned = reader.read(np.ascontiguousarray(TURNS[turn](label("Dunmere", "Oat Drink", "200 ml"))))
    assert texts(turned) == texts(upright) == ["dunmere", "oatdrink", "200ml"]
    for one, other in zip(turned, upright, strict=True):
        assert (one.left, one.top) == pytest.approx((other.left, other.top), abs=0.02)


@pytest.mark.parametrize("downwards", [True, False])
def test_a_line_that_runs_up_or_down_an_upright_label_is_read_too(reader: TextReader, downwards: bool) -> None:
    picture = label("Oat Drink", "organic", "200 ml")
    spine = np.rot90(label("Dunmere", width=600, height=130), 3 if downwards else 1)
    assert sorted(texts(reader.read(np.hstack([picture, spine])))) == ["200ml", "dunmere", "oatdrink", "organic"]


@pytest.fixture(scope="module", params=["volume", "memory"])
def product(request: pytest.FixtureRequest, reader: TextReader) -> tuple[Pixels, Meaning, set[tuple[str, str, str]]]:
    """A drawn carton or phone, what its kind means and what is read on it."""
    drawn = next(listing for listing in demo_catalogue(77, 40) if request.param in listing.expected.attributes)
    photo, meaning = decode(drawn.photos[0], 720), BUILTIN.meaning_of(drawn.expected.path)
    read = attributes_in(reader.read(photo), meaning)
    assert stated(read) == {(name, *value) for name, value in drawn.expected.attributes.items()}
    return photo, meaning, stated(read)


def stated(attributes: Sequence[ReadAttribute]) -> set[tuple[str, str, str]]:
    return {(attribute.name, attribute.value, attribute.unit) for attribute in attributes}


@pytest.mark.parametrize("turn", TURNS)
def test_a_product_that_is_turned_has_its_attributes_or_none(
    reader: TextReader, product: tuple[Pixels, Meaning, set[tuple[str, str, str]]], turn: str
) -> None:
    photo, meaning, upright = product
    turned = attributes_in(reader.read(np.ascontiguousarray(TURNS[turn](photo))), meaning)
    assert stated(turned) <= upright


def test_real_labels_that_are_turned_have_their_attributes_or_none(reader: TextReader, photos: Path) -> None:
    meaning = BUILTIN.meaning_of(("groceries", "Packages"))
    labels = sorted((photos / "grocery" / "train" / "Packages").glob("*/*/*.jpg"))[::230]
    for path in labels:
        photo = decode(path.read_bytes(), 720)
        upright = stated(attributes_in(reader.read(photo), meaning))
        turned = stated(attributes_in(reader.read(np.ascontiguousarray(np.rot90(photo, 2))), meaning))
        assert turned <= upright, path.name
