"""The text on a photo, by RapidOCR: PP-OCR models (Chinese and English) that lie in the wheel; nothing is fetched.

The recogniser reads whatever it is shown, upside down too, and is sure enough of the nonsense that comes of it. What
tells is the comparison: shown both ways, lines are read with more confidence the right way. So of a photo that doesn't
read well as it is, the largest lines are turned and mirrored, and it is read again as they say. The classifier of
single lines that comes with RapidOCR can't decide it: of real upright labels it finds a fifth of the text upside down.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.photos import Pixels

if TYPE_CHECKING:
    from rapidocr import RapidOCR

LONGEST_SIDE = 960  # pixels: labels stay readable, and a photo takes half a second of one core rather than several
SMALL_SIDE, MOST_ENLARGED = 560, 2.0  # smaller photos are enlarged to it: half as many lines again are found
LEAST_CONFIDENCE = 0.6  # below it, lines of real labels are mostly invented
# Confidence of a letter on average. Nineteen photos in twenty that are upside down or mirrored stay below 0.85.
SURELY_UPRIGHT = 0.88
SURELY_NOT_MIRRORED = 0.85
LEAST_LEGIBLE = 0.65  # below it no way of turning the photo made sense of it
MOSTLY = 0.75  # of the letters
LINES_COMPARED = 3
SIDELONG = 1.5  # times as high as wide: the engine shows such a line to the recogniser turned left by a quarter
MOST_LETTERS = 12  # of a line that count: a long one is no better evidence than two words
# What the recogniser is shown of a photo at once. Of 310 photos of packages one had more than 30 lines, and they were
# 9,000 pixels wide together; a page of dense print would have a thousand. A line of 320 costs 25 ms of one core.
MOST_LINES, MOST_LINES_WIDE = 60, 24_000
LINE_HIGH, LINE_WIDE = 48, 320  # pixels that a line is shown at; longer ones are shown wider
LEAST_SIDE = 8  # pixels, once the longest fits: what is narrower holds no line, and the engine would enlarge it to 30


@dataclass(frozen=True, slots=True)
class Line:
    """One printed line. Its box in fractions of the photo's width and height; (0, 0) is the upper left corner."""

    text: str
    confidence: float  # the recogniser's, 0 to 1
    left: float
    top: float
    right: float
    bottom: float

    @property
    def height(self) -> float:
        return self.bottom - self.top


@dataclass(frozen=True, slots=True)
class _Reading:
    text: str
    confidence: float

    @property
    def letters(self) -> int:
        return min(len(self.text), MOST_LETTERS)

    @property
    def evidence(self) -> float:
        """That the line was shown the right way."""
        return self.letters * max(0.0, self.confidence - LEAST_CONFIDENCE)


@dataclass(frozen=True, slots=True)
class _Print:
    """Something printed: where it is, how the recogniser was shown it, and what it read."""

    corners: NDArray[np.float32]
    shown: Pixels
    reading: _Reading

    @property
    def sides(self) -> tuple[float, float]:
        """Width and height in pixels."""
        one, two, _, four = self.corners
        return float(np.linalg.norm(two - one)), float(np.linalg.norm(four - one))

    @property
    def is_sidelong(self) -> bool:
        width, height = self.sides
        return height >= SIDELONG * width


@dataclass(frozen=True, slots=True)
class _Turn:
    """What makes the text of a photo, or of its mirror image, stand upright: so many quarters to the left."""

    quarters: int
    mirrored: bool = False

    def of(self, picture: Pixels) -> Pixels:
        return np.ascontiguousarray(np.rot90(picture[:, ::-1] if self.mirrored else picture, self.quarters))


@dataclass(frozen=True, slots=True)
class _Way:
    """To show a line to the recogniser; and how its photo must be turned if that is the right way."""

    show: Callable[[Pixels], Pixels]
    turn: _Turn
    turn_if_sidelong: _Turn


AS_IT_IS = _Turn(0)
AS_SHOWN = _Way(lambda line: line, AS_IT_IS, _Turn(1))
TURNED_OVER = _Way(lambda line: line[::-1, ::-1], _Turn(2), _Turn(3))
MIRRORED = _Way(lambda line: line[:, ::-1], _Turn(0, mirrored=True), _Turn(3, mirrored=True))
MIRRORED_AND_TURNED_OVER = _Way(lambda line: line[::-1], _Turn(2, mirrored=True), _Turn(1, mirrored=True))


class TextReader:
    """Reads lines. Loads its models when first asked, since most processes never meet a label.

    Each calling thread has an engine of its own (35 MB), with `threads` threads: RapidOCR keeps state between steps.
    """

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._of_thread = threading.local()

    def read(self, pixels: Pixels) -> list[Line]:
        """The lines of RGB pixels, height x width x 3, of any size, from top to bottom.

        A photo that stands on its head, lies on its side or is mirrored is read as if it were turned so that its text
        is upright, and the boxes are of that. Where no way makes sense of it there are no lines. Of very many only the
        largest are read: what a product is called is printed large.
        """
        engine = self._engine()
        picture = np.asarray(cv2.cvtColor(_fitted(pixels), cv2.COLOR_RGB2BGR), np.uint8)
        if min(picture.shape[:2]) < LEAST_SIDE:
            return []
        prints = _prints(engine, picture)
        turn = _turn_for(engine, prints)
        if turn != AS_IT_IS:
            picture = turn.of(picture)
            prints = _prints(engine, picture)
        readings = _either_way(engine, prints)
        if _legibility(readings) < LEAST_LEGIBLE:
            return []
        height, width = picture.shape[:2]
        lines = [
            Line(reading.text, reading.confidence, *_box(printed.corners / (width, height)))
            for printed, reading in zip(prints, readings, strict=True)
            if reading.text and reading.confidence >= LEAST_CONFIDENCE
        ]
        return sorted(lines, key=lambda line: (line.top, line.left))

    def _engine(self) -> "RapidOCR":
        engine: RapidOCR | None = getattr(self._of_thread, "engine", None)
        if engine is None:
            engine = self._of_thread.engine = _started(self._threads)
        return engine


def _started(threads: int) -> "RapidOCR":
    # Half a second, and it sets up a logger: not for processes that never read.
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "Global.log_level": "error",
            "Global.use_cls": False,
            "Global.use_rec": False,  # it would read all that it finds
            "Global.text_score": 0.0,  # what is hardly legible tells that a photo is turned
            "Global.max_side_len": LONGEST_SIDE,
            # As it comes, the detector enlarges small photos to 736 pixels and makes large ones no smaller.
            "Det.limit_type": "max",
            "Det.limit_side_len": LONGEST_SIDE,
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


def _prints(engine: "RapidOCR", picture: Pixels) -> list[_Print]:
    """What is found on BGR, and read as it is: the largest, as many as may be."""
    from rapidocr.ch_ppocr_det import TextDetOutput

    found = engine(picture)
    if not isinstance(found, TextDetOutput) or found.boxes is None:
        return []
    corners = _largest(np.asarray(found.boxes, np.float32))
    shown = engine.crop_text_regions(picture, corners)
    read = engine.recognize_txt(shown)
    return [
        _Print(box, line, _Reading(text.strip(), float(score)))
        for box, line, text, score in zip(corners, shown, read.txts or (), read.scores or (), strict=True)
        if text.strip()
    ]


def _largest(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of n x 4 corners those of the largest lines that may be read together, in their order."""
    sides = np.linalg.norm(corners[:, [1, 3]] - corners[:, :1], axis=2)
    wide = np.maximum(LINE_WIDE, LINE_HIGH * sides.max(axis=1) / np.maximum(sides.min(axis=1), 1))
    by_size = np.argsort(-sides.prod(axis=1), kind="stable")[:MOST_LINES]
    return corners[np.sort(by_size[np.cumsum(wide[by_size]) <= MOST_LINES_WIDE])]


def _read(engine: "RapidOCR", prints: Sequence[_Print], way: _Way) -> list[_Reading]:
    if way is AS_SHOWN or not prints:
        return [printed.reading for printed in prints]
    read = engine.recognize_txt([np.ascontiguousarray(way.show(printed.shown)) for printed in prints])
    return [
        _Reading(text.strip(), float(score)) for text, score in zip(read.txts or (), read.scores or (), strict=True)
    ]


def _turn_for(engine: "RapidOCR", prints: Sequence[_Print]) -> _Turn:
    """As the largest lines say. Those of a photo that reads well aren't asked: that costs time."""
    if _reads_well(prints):
        return AS_IT_IS
    largest = sorted(prints, key=lambda printed: -np.prod(printed.sides))[:LINES_COMPARED]
    votes = defaultdict[_Turn, float](float, {AS_IT_IS: 0.0})
    for ways in ((AS_SHOWN, TURNED_OVER), (MIRRORED, MIRRORED_AND_TURNED_OVER)):
        best = 0.0
        for way in ways:
            readings = _read(engine, largest, way)
            best = max(best, _legibility(readings))
            for printed, reading in zip(largest, readings, strict=True):
                votes[way.turn_if_sidelong if printed.is_sidelong else way.turn] += reading.evidence
        if best >= SURELY_NOT_MIRRORED:
            break
    return max(votes, key=lambda turn: votes[turn])


def _reads_well(prints: Sequence[_Print]) -> bool:
    upright = _letters(printed.reading for printed in prints if not printed.is_sidelong)
    readings = [printed.reading for printed in prints]
    return upright >= MOSTLY * _letters(readings) and _legibility(readings) >= SURELY_UPRIGHT


def _either_way(engine: "RapidOCR", prints: Sequence[_Print]) -> list[_Reading]:
    """Sidelong lines run upwards or downwards: as they read better."""
    sidelong = [printed for printed in prints if printed.is_sidelong]
    turned_over = iter(_read(engine, sidelong, TURNED_OVER))
    return [
        max(printed.reading, next(turned_over), key=lambda reading: reading.confidence)
        if printed.is_sidelong
        else printed.reading
        for printed in prints
    ]


def _letters(readings: Iterable[_Reading]) -> int:
    return sum(reading.letters for reading in readings)


def _legibility(readings: Sequence[_Reading]) -> float:
    """The confidence of a letter on average; 0 where nothing is read."""
    letters = _letters(readings)
    return sum(reading.letters * reading.confidence for reading in readings) / letters if letters else 0.0


def _fitted(pixels: Pixels) -> Pixels:
    longest = max(pixels.shape[:2])
    scale = min(LONGEST_SIDE / longest, max(1.0, min(MOST_ENLARGED, SMALL_SIDE / longest)))
    if scale == 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, size, interpolation=how), dtype=np.uint8)


def _box(corners: NDArray[np.float64]) -> tuple[float, float, float, float]:
    left, top = np.clip(corners.min(axis=0), 0, 1)
    right, bottom = np.clip(corners.max(axis=0), 0, 1)
    return float(left), float(top), float(right), float(bottom)
