"""Printed words. Two typefaces that come inside Pillow and OpenCV, so no font has to be installed.

The demo's pictures are set in Pillow's Aileron, the training pictures in OpenCV's Rubik.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from studio.fields import Field

Typeface = Literal["aileron", "rubik"]


@lru_cache(maxsize=64)
def _aileron(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType, which the rendered catalogue needs")
    return font


@lru_cache(maxsize=2)
def _rubik(italic: bool) -> cv2.FontFace:
    return cv2.FontFace("italic" if italic else "sans")


def line(words: str, size: int, face: Typeface = "aileron", bold: bool = False, italic: bool = False) -> Field:
    """Coverage (height, width) of one line of print, cropped to its ink sideways; `size` is the em in pixels."""
    if face == "rubik":
        sheet: Field = np.zeros((round(size * 1.5), round(size * (len(words) + 1))), np.uint8)
        end, _ = cv2.putText(
            sheet, words, (size // 4, round(size * 1.1)), (255,), _rubik(italic), size, 750 if bold else 400
        )
        sheet = sheet[:, : int(end[0]) + size // 4]
    else:
        font = _aileron(size)
        stroke = max(1, round(size / 28)) if bold else 0
        width = round(font.getlength(words)) + size // 2 + 2 * stroke
        picture = Image.new("L", (width, round(size * 1.5)))
        ImageDraw.Draw(picture).text((size // 4, round(size * 0.2)), words, 255, font, stroke_width=stroke)
        sheet = np.asarray(picture)
        if italic:
            lean = np.array([[1, -0.2, 0.2 * size], [0, 1, 0]])
            sheet = cv2.warpAffine(sheet, lean, (width + round(0.3 * size), sheet.shape[0]))
    return sheet.astype(np.float32) / 255


def fitted(
    words: str, width: int, size: int, face: Typeface = "aileron", bold: bool = False, italic: bool = False
) -> Field:
    """As `line`, but smaller where it would be wider than `width` pixels."""
    sheet = line(words, size, face, bold, italic)
    if sheet.shape[1] > width:
        sheet = line(words, max(8, int(size * width / sheet.shape[1])), face, bold, italic)
    return sheet[:, :width]


def stacked(lines: Sequence[str], width: int, face: Typeface = "aileron", bold: bool = True) -> Field:
    """Lines one under the other, each as wide as the block: coverage (height, width)."""
    sheets = []
    for words in lines:
        size = int(40 * width / max(1, line(words, 40, face, bold).shape[1]))
        sheet = fitted(words, width, min(size, 150), face, bold)
        pad = width - sheet.shape[1]
        sheets.append(np.pad(sheet, ((0, 0), (pad // 2, pad - pad // 2))))
    return np.vstack(sheets)


def stamp(paper: Field, ink: Field, left: float, top: float, colour: Sequence[float]) -> None:
    """Prints coverage on an RGB picture, in place; what falls off the paper is lost."""
    x, y = max(0, round(left)), max(0, round(top))
    h, w = min(ink.shape[0], paper.shape[0] - y), min(ink.shape[1], paper.shape[1] - x)
    if h > 0 and w > 0:
        spot = paper[y : y + h, x : x + w]
        spot += (np.asarray(colour, np.float32) - spot) * ink[:h, :w, None]
