"""What is coded in a HEIF's items: HEVC by its units (ITU-T H.265, Annex B and 7.3), AV1 by its OBUs (AV1, 5.3 to 5.5).

Only as much as tells how large a decoder's pictures will be, how many they are, and which units are no part of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from shared.limits import MAX_PHOTO_PIXELS, MAX_UNITS

MAX_PARAMETER_SETS = 16  # that its items share
# AV1 may hold a picture in so many layers of rising quality.
MAX_FRAMES = 4

_SPS, _LAST_PARAMETERS = 33, 34
_SEQUENCE, _FRAME_HEADER, _FRAME = 1, 3, 6
_OBUS = frozenset((1, 2, 3, 4, 6, 7))  # delimiters, headers, tiles, frames; not metadata, padding and tile lists


class HeifDamaged(ValueError):
    """What is wrong with the file; ends a sentence that begins with it."""


class HeifUnsupported(ValueError):
    """A sound file, maybe, of a kind that is not read; the message names the kind."""


@dataclass(frozen=True, slots=True)
class Coded:
    """What a decoder is told to make, and the units that it needs for it."""

    width: int
    height: int
    pixels: int  # that it may make room for: frames may say a size of their own
    data: tuple[memoryview, ...]
    units: int  # that were looked at


def hevc_settings(hvcc: memoryview) -> memoryview:
    """Its parameter sets alone. Raises HeifDamaged."""
    kept, arrays = bytearray(), 0
    for head, units in _arrays(hvcc):
        if head & 63 not in (32, _SPS, _LAST_PARAMETERS):
            continue
        arrays += 1
        kept += bytes([head]) + len(units).to_bytes(2, "big")
        for unit in units:
            kept += len(unit).to_bytes(2, "big") + bytes(unit)
    return memoryview(bytes(hvcc[:22]) + bytes([arrays]) + bytes(kept))


def hevc_item(hvcc: memoryview, data: bytes | memoryview) -> Coded:
    """Raises HeifDamaged: no size, several pictures, or too many units."""
    sizes = [_hevc_size(unit) for _, units in _arrays(hvcc) for unit in units if _hevc_kind(unit) == _SPS]
    view, prefix = memoryview(data), (hvcc[21] & 3) + 1
    kept, at, pictures, units = [], 0, 0, 0
    for _ in range(MAX_UNITS):
        if at == len(view):
            break
        begin = at + prefix
        end = begin + int.from_bytes(view[at:begin], "big")
        if not begin + 2 <= end <= len(view):
            raise HeifDamaged("its coded data end early")
        units += 1
        unit = view[begin:end]
        kind = _hevc_kind(unit)
        if kind <= 31:
            pictures += unit[2] >> 7 if len(unit) > 2 else 0  # the first slice of a picture
        elif kind == _SPS:
            sizes.append(_hevc_size(unit))
        if kind <= 37:  # what follows is filling, notes, and what nobody defined
            kept.append(view[at:end])
        at = end
    if at != len(view) or pictures != 1 or not sizes:
        raise HeifDamaged("its coded data are not those of one picture")
    width, height = max(w for w, _ in sizes), max(h for _, h in sizes)
    return Coded(width, height, width * height, tuple(kept), units)


def av1_settings(av1c: memoryview) -> memoryview:
    """Its sequence header alone. Raises HeifDamaged."""
    return memoryview(
        bytes(av1c[:4]) + b"".join(raw for kind, raw, _ in _obus(av1c[4:], MAX_PARAMETER_SETS) if kind == _SEQUENCE)
    )


def av1_item(av1c: memoryview, data: bytes | memoryview) -> Coded:
    """Raises HeifDamaged: no size, several pictures, or too many units."""
    sizes = [_av1_size(payload) for kind, _, payload in _obus(av1c[4:], MAX_PARAMETER_SETS) if kind == _SEQUENCE]
    kept, frames, units = [], 0, 0
    for kind, raw, payload in _obus(memoryview(data)):
        units += 1
        frames += kind in (_FRAME_HEADER, _FRAME)
        if kind == _SEQUENCE:
            sizes.append(_av1_size(payload))
        if kind in _OBUS:
            kept.append(raw)
    if not 1 <= frames <= MAX_FRAMES or not sizes:
        raise HeifDamaged("its coded data are not those of one picture")
    largest = max(size[2] for size in sizes)
    return Coded(max(size[0] for size in sizes), max(size[1] for size in sizes), largest, tuple(kept), units)


class _Bits:
    """Read from the left. Raises HeifDamaged when there are no more."""

    def __init__(self, data: bytes) -> None:
        self._all = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise HeifDamaged("its coded data end early")
        self._left -= count
        return self._all >> self._left & ((1 << count) - 1)

    def exp_golomb(self) -> int:
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 31:
                raise HeifDamaged("its coded data make no sense")
        return (1 << zeros) - 1 + self.take(zeros)


def _arrays(hvcc: memoryview) -> Iterator[tuple[int, list[memoryview]]]:
    if len(hvcc) < 23:
        raise HeifDamaged("it does not say how it is coded")
    at, left = 23, MAX_PARAMETER_SETS
    for _ in range(hvcc[22]):
        head, count = bytes(hvcc[at : at + 1]), int.from_bytes(hvcc[at + 1 : at + 3], "big")
        at += 3
        units = []
        left -= count
        for _ in range(count if left >= 0 else 0):
            end = at + 2 + int.from_bytes(hvcc[at : at + 2], "big")
            units.append(hvcc[at + 2 : end])
            if end > len(hvcc) or len(units[-1]) < 3:
                raise HeifDamaged("it does not say how it is coded")
            at = end
        if not head or left < 0:
            raise HeifDamaged("it does not say how it is coded")
        yield head[0], units


def _hevc_kind(unit: memoryview) -> int:
    return unit[0] >> 1 & 63


def _hevc_size(sps: memoryview) -> tuple[int, int]:
    """Luma samples, before the crop to what is shown."""
    # Sizes stand near its beginning. A 3 after two zeros is no part of the data.
    bits = _Bits(bytes(sps[2:300]).replace(b"\0\0\3", b"\0\0"))
    bits.take(4)
    layers = bits.take(3)
    bits.take(1 + 88 + 8)
    present = [(bits.take(1), bits.take(1)) for _ in range(layers)]
    bits.take(2 * (8 - layers) if layers else 0)
    for profile, level in present:
        bits.take(88 * profile + 8 * level)
    bits.exp_golomb()
    if bits.exp_golomb() == 3:
        bits.take(1)
    return bits.exp_golomb(), bits.exp_golomb()


def _obus(data: memoryview, most: int = MAX_UNITS) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Kind, all of it, and what follows its header."""
    at = 0
    for _ in range(most):
        if at == len(data):
            return
        head = data[at]
        begin = at + (2 if head & 4 else 1)
        end = len(data)
        if head & 2:
            length, size = _leb128(data[begin : begin + 8])
            begin += size
            end = begin + length
        if end > len(data) or begin > end:
            break
        yield head >> 3 & 15, data[at:end], data[begin:end]
        at = end
    raise HeifDamaged("its coded data end early")


def _leb128(data: memoryview) -> tuple[int, int]:
    value = 0
    for size, byte in enumerate(data):
        value |= (byte & 127) << 7 * size
        if byte < 128:
            return value, size + 1
    raise HeifDamaged("its coded data end early")


def _av1_size(sequence: memoryview) -> tuple[int, int, int]:
    """Width, height, and as many pixels as a frame may ask for."""
    bits = _Bits(bytes(sequence[:600]))
    bits.take(3 + 1)
    reduced = bits.take(1)
    if reduced:
        bits.take(5)
    else:
        _skip_operating_points(bits)
    wide, high = bits.take(4) + 1, bits.take(4) + 1
    width, height = bits.take(wide) + 1, bits.take(high) + 1
    # Frames of a full header may override the size, within these bits: of a photo that is a quarter of them or more.
    if not reduced and 1 << (wide + high) > 2 * MAX_PHOTO_PIXELS:
        raise HeifDamaged("its frames may be larger than it says")
    return width, height, width * height if reduced else 1 << (wide + high)


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits.take(1):  # timing
        bits.take(64)
        if bits.take(1):
            bits.exp_golomb()
        if bits.take(1):  # the decoder's model
            delay_bits = bits.take(5) + 1
            bits.take(42)
    delays = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if delays and bits.take(1):
            bits.take(4)
