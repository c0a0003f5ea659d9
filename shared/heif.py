"""HEIC, HEIF and AVIF by their boxes (ISO/IEC 23008-12 and 14496-12, AV1 Image File Format): what the primary picture
is made of, and how large what is coded says that it is.

Decoders believe the coded pictures rather than the boxes, and allocate what those claim. So both are read. Everything
is linear in the file's bytes, and bounded: boxes, items, extents, and units of coded data.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shared.heif_coding import (
    Coded,
    HeifDamaged,
    HeifUnsupported,
    av1_item,
    av1_settings,
    hevc_item,
    hevc_settings,
)
from shared.limits import MAX_ASSOCIATIONS, MAX_BOXES, MAX_EXTENTS, MAX_ITEMS, MAX_UNITS

__all__ = ["Box", "HeifDamaged", "HeifUnsupported", "Item", "Picture", "boxes", "is_heif", "is_moving", "picture_of"]

# Encoders fill pictures up to whole blocks; what is coded may be larger by less than this.
PADDING = 64

_STILL = frozenset((b"heic", b"heix", b"heim", b"heis", b"mif1", b"miaf", b"avif"))
_MOVING = frozenset((b"hevc", b"hevx", b"hevm", b"hevs", b"msf1", b"avis"))
_ALPHA = (b"urn:mpeg:hevc:2015:auxid:1\0", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")
_CODED = {b"hvc1": hevc_item, b"av01": av1_item}
_SETTINGS = {b"hvc1": b"hvcC", b"av01": b"av1C"}
# Of a picture and of its colours. Of what else there is decoders need nothing.
_PROPERTIES = frozenset((b"ispe", b"pixi", b"colr", b"pasp", b"clap", b"irot", b"imir", b"hvcC", b"av1C", b"auxC")) | (
    frozenset((b"a1op", b"a1lx", b"lsel", b"clli", b"mdcv", b"cclv", b"amve"))
)


@dataclass(frozen=True, slots=True)
class Box:
    """`payload` comes after size and kind."""

    kind: bytes
    payload: memoryview


@dataclass(frozen=True, slots=True)
class Item:
    """A part of the picture: a whole one, a tile, the plan that joins tiles, or its transparency."""

    number: int
    kind: bytes
    data: tuple[memoryview, ...]
    properties: tuple[tuple[Box, bool], ...]  # and whether a reader must understand it


@dataclass(frozen=True, slots=True)
class Picture:
    """The primary picture. `width` and `height` as stored, before any turn; those of what is coded, if larger."""

    brand: bytes
    coding: bytes  # b"hvc1" or b"av01"
    width: int
    height: int
    pixels: int  # that a decoder may make room for at once
    quarter_turn: bool
    items: tuple[Item, ...]  # the primary first
    references: tuple[tuple[bytes, int, tuple[int, ...]], ...]  # kind, from, to: only between these items
    asides: tuple[tuple[bytes, bytes], ...]  # whatever is no picture, and its kind: Exif, mime, uuid …

    @property
    def is_avif(self) -> bool:
        return self.coding == b"av01"


def is_heif(body: bytes) -> bool:
    return body[4:8] == b"ftyp" and body[8:12] in _STILL | _MOVING


def is_moving(body: bytes) -> bool:
    """A sequence of pictures, by its brand or because it has tracks. Raises HeifDamaged."""
    return body[8:12] in _MOVING or any(box.kind == b"moov" for box in boxes(memoryview(body)))


def picture_of(body: bytes) -> Picture:
    """Raises HeifDamaged and HeifUnsupported."""
    top = list(boxes(memoryview(body)))
    meta = next((box for box in top if box.kind == b"meta"), None)
    if meta is None:
        raise HeifDamaged("no description of a picture was found in it")
    return _Reader(memoryview(body), top, {box.kind: box.payload for box in boxes(meta.payload[4:])}).picture()


def boxes(view: memoryview) -> Iterator[Box]:
    """One after the other. Raises HeifDamaged when one ends beyond the last byte, or there are too many."""
    at = 0
    for _ in range(MAX_BOXES):
        if at == len(view):
            return
        if at + 8 > len(view):
            break
        size, head = _number(view, at, 4), 8
        if size == 1:
            size, head = _number(view, at + 8, 8), 16
        end = at + size if size else len(view)  # zero: up to the end
        if not at + head <= end <= len(view):
            break
        yield Box(bytes(view[at + 4 : at + 8]), view[at + head : end])
        at = end
    raise HeifDamaged("the HEIF data end early, or are more boxes than a photo has")


class _Reader:
    """What the boxes of one file say of its items."""

    def __init__(self, view: memoryview, top: list[Box], meta: Mapping[bytes, memoryview]) -> None:
        self._view = view
        self._top = top
        self._meta = meta
        self._idat = meta.get(b"idat", memoryview(b""))
        self._kinds = self._read_kinds()
        self._extents = self._read_extents()
        self._properties = self._read_properties()
        self._references = self._read_references()
        self._kept: dict[int, Box] = {}  # by the id of what it was; self._properties keeps that alive

    def picture(self) -> Picture:
        pitm = self._box(b"pitm")
        primary = _number(pitm, 4, 2 if pitm[0] == 0 else 4)
        tiles = self._tiles(primary)
        colour = [primary, *tiles]
        alpha = [start for kind, start, to in self._references if kind == b"auxl" and self._is_alpha(start, to, colour)]
        numbers = list(dict.fromkeys([*colour, *alpha, *(tile for one in alpha for tile in self._tiles(one))]))
        if sum(len(piece) for number in numbers for piece in self._extents.get(number, ())) > len(self._view):
            raise HeifDamaged("its parts overlap")
        items, coded, units = [], [], 0
        for number in numbers:
            item, claims = self._item(number)
            items.append(item)
            if claims:
                coded.append(claims)
                units += claims.units
            if units > MAX_UNITS:
                raise HeifDamaged("it is coded in more pieces than a photo is")
        codings = {item.kind for item in items} & set(_CODED)
        if len(codings) != 1 or not coded:
            raise HeifUnsupported("a HEIF of mixed codings")
        width, height = self._size(primary)
        if tiles:
            width, height = self._joined(primary, tiles, items[0])
        known = set(numbers)
        turns = [box.payload[0] & 1 for box, _ in items[0].properties if box.kind == b"irot" and len(box.payload)]
        return Picture(
            brand=bytes(self._view[8:12]),
            coding=codings.pop(),
            width=width,
            height=height,
            pixels=max(width * height, *(one.pixels for one in coded)),
            quarter_turn=sum(turns) % 2 == 1,
            items=tuple(items),
            references=tuple(
                (kind, start, tuple(one for one in to if one in known))
                for kind, start, to in self._references
                if start in known and kind in (b"dimg", b"auxl", b"prem") and known.intersection(to)
            ),
            asides=tuple(self._asides()),
        )

    # --- what is there -----------------------------------------------------------------------------------------------

    def _read_kinds(self) -> dict[int, bytes]:
        iinf = self._box(b"iinf")
        kinds: dict[int, bytes] = {}
        for box in boxes(iinf[6 if iinf[0] == 0 else 8 :]):
            if box.kind != b"infe":
                continue
            wide = 4 if _number(box.payload, 0, 1) == 3 else 2
            kinds[_number(box.payload, 4, wide)] = bytes(box.payload[6 + wide : 10 + wide])
        if len(kinds) > MAX_ITEMS:
            raise HeifDamaged(f"it has {len(kinds)} parts; at most {MAX_ITEMS} are read")
        return kinds

    def _read_extents(self) -> dict[int, list[memoryview]]:
        iloc = _Fields(self._box(b"iloc"))
        version = iloc.take(4) >> 24
        sizes = iloc.take(2)
        offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
        index_size = sizes & 15 if version else 0
        wide = 4 if version == 2 else 2
        found: dict[int, list[memoryview]] = {}
        left = MAX_EXTENTS
        for _ in range(iloc.take(wide)):
            number = iloc.take(wide)
            method = iloc.take(2) & 15 if version else 0
            iloc.take(2)  # of another file; there is none
            base = iloc.take(base_size)
            count = iloc.take(2)
            left -= count + 1
            if left < 0 or method > 1:
                raise HeifDamaged("its parts lie in more pieces than a photo's do")
            whole = self._idat if method else self._view
            for _ in range(count):
                iloc.take(index_size)
                begin = base + iloc.take(offset_size)
                length = iloc.take(length_size) or max(0, len(whole) - begin)
                if begin + length > len(whole):
                    raise HeifDamaged("the HEIF data end early")
                found.setdefault(number, []).append(whole[begin : begin + length])
        return found

    def _read_properties(self) -> dict[int, list[tuple[Box, bool]]]:
        iprp = list(boxes(self._box(b"iprp")))
        known = list(boxes(next((part.payload for part in iprp if part.kind == b"ipco"), memoryview(b""))))
        found: dict[int, list[tuple[Box, bool]]] = {}
        left = MAX_ASSOCIATIONS
        for part in iprp:
            if part.kind != b"ipma":
                continue
            ipma = _Fields(part.payload)
            flags = ipma.take(4)
            wide = 2 if flags & 1 else 1
            for _ in range(ipma.take(4)):
                number = ipma.take(2 if flags >> 24 == 0 else 4)
                count = ipma.take(1)
                left -= count + 1
                if left < 0:
                    raise HeifDamaged("it says more of its parts than a photo does")
                for _ in range(count):
                    said = ipma.take(wide)
                    essential, index = said >> (8 * wide - 1) == 1, said & ((1 << (8 * wide - 1)) - 1)
                    if index > len(known):
                        raise HeifDamaged("it names a property that it does not have")
                    if index:
                        found.setdefault(number, []).append((known[index - 1], essential))
        return found

    def _read_references(self) -> list[tuple[bytes, int, tuple[int, ...]]]:
        iref = self._meta.get(b"iref")
        if iref is None:
            return []
        wide = 4 if _number(iref, 0, 1) else 2
        found, left = [], MAX_BOXES
        for box in boxes(iref[4:]):
            fields = _Fields(box.payload)
            start, count = fields.take(wide), fields.take(2)
            left -= count + 1
            if left < 0:
                raise HeifDamaged("its parts refer to each other more often than a photo's do")
            found.append((box.kind, start, tuple(fields.take(wide) for _ in range(count))))
        return found

    # --- what the primary picture is made of -------------------------------------------------------------------------

    def _tiles(self, number: int) -> tuple[int, ...]:
        """Those that a grid joins; none of a picture that is coded whole."""
        match self._kinds.get(number):
            case b"grid":
                tiles = [to for kind, start, to in self._references if kind == b"dimg" and start == number]
                if len(tiles) != 1 or any(self._kinds.get(tile) not in _CODED for tile in tiles[0]):
                    raise HeifDamaged("its tiles are not there")
                return tiles[0]
            case kind if kind in _CODED:
                return ()
            case None:
                raise HeifDamaged("its picture is not there")
            case kind:
                raise HeifUnsupported(f"a HEIF of the coding {kind.decode('latin-1')!r}")

    def _is_alpha(self, number: int, of: tuple[int, ...], colour: list[int]) -> bool:
        kinds = (box.payload[4:] for box, _ in self._properties.get(number, ()) if box.kind == b"auxC")
        return bool(set(of).intersection(colour)) and any(bytes(kind).startswith(_ALPHA) for kind in kinds)

    def _item(self, number: int) -> tuple[Item, Coded | None]:
        kind, data = self._kinds[number], tuple(self._extents.get(number, ()))
        properties = []
        for box, essential in self._properties.get(number, ()):
            if box.kind in _PROPERTIES:
                properties.append((self._reduced(box), essential))
            elif essential:
                raise HeifUnsupported("a HEIF that needs what few readers know")
        if kind not in _CODED:
            return Item(number, kind, data, tuple(properties)), None
        settings = next((box.payload for box, _ in properties if box.kind == _SETTINGS[kind]), None)
        if settings is None:
            raise HeifDamaged("it does not say how it is coded")
        coded = _CODED[kind](settings, b"".join(data))
        width, height = self._size(number)
        if coded.width >= width + PADDING or coded.height >= height + PADDING:
            raise HeifDamaged("what is coded is larger than it says")
        return Item(number, kind, coded.data, tuple(properties)), coded

    def _reduced(self, box: Box) -> Box:
        """Without what is no part of the picture; the same one for all that share it."""
        if id(box) not in self._kept:
            match box.kind:
                case b"hvcC":
                    self._kept[id(box)] = Box(box.kind, hevc_settings(box.payload))
                case b"av1C":
                    self._kept[id(box)] = Box(box.kind, av1_settings(box.payload))
                case b"auxC":
                    self._kept[id(box)] = Box(box.kind, _only_urn(box.payload))
                case _:
                    self._kept[id(box)] = box
        return self._kept[id(box)]

    def _size(self, number: int) -> tuple[int, int]:
        for box, _ in self._properties.get(number, ()):
            if box.kind == b"ispe":
                return _number(box.payload, 4, 4), _number(box.payload, 8, 4)
        raise HeifDamaged("it does not say how large it is")

    def _joined(self, primary: int, tiles: tuple[int, ...], grid: Item) -> tuple[int, int]:
        """What a grid makes of its tiles. Each must show something, so they can't be many more pixels than it."""
        plan = _Fields(memoryview(b"".join(grid.data)))
        wide = 4 if plan.take(2) & 1 else 2
        rows, columns = plan.take(1) + 1, plan.take(1) + 1
        width, height = plan.take(wide), plan.take(wide)
        sizes = {self._size(tile) for tile in tiles}
        if len(sizes) != 1 or len(tiles) != rows * columns:
            raise HeifDamaged("its tiles do not fit together")
        ((across, down),) = sizes
        if not ((columns - 1) * across < width <= columns * across and (rows - 1) * down < height <= rows * down):
            raise HeifDamaged("its tiles do not cover it")
        stated = self._size(primary)
        return max(width, stated[0]), max(height, stated[1])

    def _asides(self) -> Iterator[tuple[bytes, bytes]]:
        for box in self._top:
            if box.kind == b"uuid":
                yield b"uuid", bytes(box.payload)
        budget = len(self._view)
        for number, kind in self._kinds.items():
            if kind in (b"Exif", b"mime", b"uri "):
                data = b"".join(self._extents.get(number, ()))
                if (budget := budget - len(data)) < 0:
                    raise HeifDamaged("its parts overlap")
                yield kind, data

    def _box(self, kind: bytes) -> memoryview:
        payload = self._meta.get(kind)
        if payload is None or len(payload) < 4:
            raise HeifDamaged(f"its box {kind.decode('latin-1')} is missing")
        return payload


class _Fields:
    """Big-endian numbers, one after the other."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._at = 0

    def take(self, size: int) -> int:
        self._at += size
        return _number(self._view, self._at - size, size)


def _number(view: memoryview, at: int, size: int) -> int:
    if at + size > len(view):
        raise HeifDamaged("the HEIF data end early")
    return int.from_bytes(view[at : at + size], "big")


def _only_urn(payload: memoryview) -> memoryview:
    """What follows the name of an auxiliary picture's kind is the encoder's own."""
    return memoryview(bytes(payload[:4]) + bytes(payload[4:]).partition(b"\0")[0] + b"\0")
