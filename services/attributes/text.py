"""The text on a photo, by RapidOCR: PP-OCR models (Chinese and English) that lie in the wheel; nothing is fetched."""

import threading
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


class TextReader:
    """Reads lines. Loads its models when first asked, since most processes never meet a label.

    Each calling thread has an engine of its own (35 MB), with `threads` threads: RapidOCR keeps state between steps.
    """

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._of_thread = threading.local()

    def read(self, pixels: Pixels) -> list[Line]:
        """From upright RGB, height x width x 3, of any size; the lines from top to bottom."""
        from rapidocr.utils.output import RapidOCROutput

        fitted = _fitted(pixels)
        found = self._engine()(cv2.cvtColor(fitted, cv2.COLOR_RGB2BGR))
        if not isinstance(found, RapidOCROutput) or found.boxes is None or found.txts is None or found.scores is None:
            return []
        height, width = fitted.shape[:2]
        lines = [
            Line(text.strip(), float(score), *_box(corners / (width, height)))
            for corners, text, score in zip(np.asarray(found.boxes), found.txts, found.scores, strict=True)
            if score >= LEAST_CONFIDENCE and text.strip()
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
            "Global.use_cls": False,  # whether a line is upside down: a third of the time, and products stand upright
            "Global.max_side_len": LONGEST_SIDE,
            # As it comes, the detector enlarges small photos to 736 pixels and makes large ones no smaller.
            "Det.limit_type": "max",
            "Det.limit_side_len": LONGEST_SIDE,
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


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
