"""The real text reader on drawn labels."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from services.attributes.text import TextReader
from shared.photos import Pixels


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


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (40, 3000), (300, 300)])
def test_a_photo_without_text_has_no_lines(reader: TextReader, shape: tuple[int, int]) -> None:
    assert reader.read(np.full((*shape, 3), 200, np.uint8)) == []


def test_many_threads_read_what_one_reads(reader: TextReader) -> None:
    pictures = [label(f"Code {n}{n}{n}") for n in range(4)]
    alone = [reader.read(picture) for picture in pictures]
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(reader.read, pictures)) == alone
