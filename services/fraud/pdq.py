"""PDQ, a perceptual hash: photos that look the same get hashes that differ in few of 256 bits.

Facebook, "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm", 2019:
https://github.com/facebook/ThreatExchange/blob/main/hashing/hashing.pdf
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pdqhash  # type: ignore[import-untyped]
from numpy.typing import NDArray

from services.fraud.margins import without_margins
from services.fraud.printed import is_of_text, text_hashes
from shared.photos import Photo, Pixels

BITS = 256
MATCH_DISTANCE = 31  # the paper's recommendation: at most so many bits differ between two copies of one photo
TEXT_MATCH_DISTANCE = 24  # of pictures of text: different ones differ in 34 bits and more
POOR_QUALITY = 49  # the paper's recommendation: up to here a photo is too flat for its hash to mean anything

# 320 = 5 x 64: PDQ's blur then is 3 pixels wide and its sampling points lie in the middle of their cells, so a mirrored
# photo's hash is *exactly* one of the eight variants. At 192 or 448 pixels up to 48 bits of it differ.
SIDE = 320
# What the trunk decodes to, so that both share one decode. Costs at most 8 bits against every pixel there is.
DECODED_SIDE = 224


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A photo's hash and those of its eight turned and mirrored variants, itself first. 64 hex digits each."""

    variants: tuple[str, ...]
    quality: int  # 0 (flat) to 100
    trimmed: tuple[str, ...] = ()  # likewise of the photo without its uniform margins, if it has any
    of_text: bool = False  # then these are hashes of printed.py, and say nothing beside those of a photo

    @property
    def hex(self) -> str:
        return self.variants[0]

    @property
    def all_variants(self) -> tuple[str, ...]:
        return (*self.variants, *self.trimmed)

    @property
    def usable(self) -> bool:
        """False for photos so flat that strangers' photos would match."""
        return self.of_text or self.quality > POOR_QUALITY

    @property
    def match_distance(self) -> int:
        """At most so many bits differ between this photo and a copy."""
        return TEXT_MATCH_DISTANCE if self.of_text else MATCH_DISTANCE


def fingerprint_of(photo: Photo) -> Fingerprint:
    """Computed once per photo, however many ask. Raises what decoding raises."""
    return photo.noted("pdq", lambda: fingerprint(photo.pixels(DECODED_SIDE)))


def fingerprint(pixels: Pixels) -> Fingerprint:
    """The hashes of upright RGB pixels, height x width x 3, of any size and aspect."""
    variants, quality = _hashed(pixels)
    if is_of_text(pixels):
        return Fingerprint(text_hashes(pixels), quality, of_text=True)
    if (inside := without_margins(pixels)) is None:
        return Fingerprint(variants, quality)
    trimmed, inside_quality = _hashed(inside)
    if inside_quality <= POOR_QUALITY:
        return Fingerprint(variants, quality)
    # What is too flat as a whole, a small photo on a large ground, is known by its inside alone.
    return Fingerprint(variants, quality, trimmed) if quality > POOR_QUALITY else Fingerprint(trimmed, inside_quality)


def _hashed(pixels: Pixels) -> tuple[tuple[str, ...], int]:
    square = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    variants, quality = pdqhash.compute_dihedral(square)
    return tuple(np.packbits(bits.astype(np.uint8)).tobytes().hex() for bits in variants), int(quality)


def packed(hashes: Sequence[str]) -> NDArray[np.uint8]:
    """n x 32 bytes from n hashes of 64 hex digits."""
    return np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint8).reshape(-1, BITS // 8)


def distances(fingerprint: Fingerprint, hashes: Sequence[str]) -> NDArray[np.int64]:
    """Bits that differ between each of n hashes and the nearest of the fingerprint's variants, trimmed or not."""
    if not hashes:
        return np.zeros(0, dtype=np.int64)
    differing = packed(fingerprint.all_variants)[:, None, :] ^ packed(hashes)[None, :, :]
    nearest: NDArray[np.int64] = np.bitwise_count(differing).sum(axis=2, dtype=np.int64).min(axis=0)
    return nearest
