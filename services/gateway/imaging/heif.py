"""HEIC, HEIF and AVIF: written anew around the coded picture, which stays as it is bit for bit.

What goes is whatever the primary picture isn't made of: EXIF, XMP, thumbnails, depth and gain maps, further pictures,
names, notes among the coded data, and what lies between or after the boxes.
"""

from services.gateway.imaging.parts import BadPhoto, Metadata, Size, check_profile, damaged
from services.gateway.imaging.profile import colours_only
from shared.heif import Box, HeifDamaged, HeifUnsupported, Item, Picture, is_moving, picture_of
from shared.photo_formats import NAMES

_CODING, _CODING_BYTES = b"nclx", 7
_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis"))


def size(body: bytes) -> Size:
    """Raises BadPhoto."""
    try:
        if is_moving(body):
            return Size(0, 0, animated=True)
    except HeifDamaged as why:
        raise damaged(str(why)) from why
    picture = _picture(body)
    return Size(picture.width, picture.height)


def media_type(body: bytes) -> str:
    """What it is by how it is coded, and for HEVC by the file's own word. Raises BadPhoto."""
    picture = _picture(body)
    if picture.is_avif:
        return "image/avif"
    return "image/heic" if picture.brand in _HEIC_BRANDS else "image/heif"


def strip(body: bytes) -> tuple[bytes, Metadata]:
    """The picture alone, and what was taken out. Raises BadPhoto."""
    picture = _picture(body)
    metadata = Metadata()
    colours = {id(box): box for item in picture.items for box, _ in item.properties if box.kind == b"colr"}
    check_profile(sum(len(box.payload) for box in colours.values()))
    for kind, data in picture.asides:
        _note(kind, data, metadata)
    return _written(picture), metadata


def _picture(body: bytes) -> Picture:
    try:
        return picture_of(body)
    except HeifUnsupported as why:
        raise BadPhoto(
            "unsupported-type",
            f"The photo is {why}, which is not accepted.",
            f"Export it as a JPEG. {NAMES} are accepted.",
        ) from why
    except HeifDamaged as why:
        raise damaged(str(why)) from why


def _note(kind: bytes, data: bytes, metadata: Metadata) -> None:
    if kind == b"Exif":
        begin = 4 + int.from_bytes(data[:4], "big")
        if not metadata.exif:
            metadata.read_exif(data[begin:].removeprefix(b"Exif\0\0"))
    elif kind == b"mime" and (b"<x:xmpmeta" in data[:200] or b"<?xpacket" in data[:200]):
        metadata.xmp += metadata.read(data)
    else:
        metadata.c2pa |= kind == b"uuid" and data.startswith(_C2PA)
        metadata.notes.append(metadata.read(data))


# --- writing ----------------------------------------------------------------------------------------------------------


def _written(picture: Picture) -> bytes:
    """Items are numbered anew, in order, and their data follow each other after all that is said of them."""
    numbers = {item.number: at for at, item in enumerate(picture.items, 1)}
    ftyp = _box(b"ftyp", picture.brand + bytes(4) + b"".join(_brands(picture)))
    lengths = [sum(len(piece) for piece in item.data) for item in picture.items]
    # Where the data begin depends on how long the description is, and that doesn't depend on where.
    begin = len(ftyp) + len(_meta(picture, numbers, lengths, 0)) + 8
    data = b"".join(piece for item in picture.items for piece in item.data)
    return ftyp + _meta(picture, numbers, lengths, begin) + _box(b"mdat", data)


def _brands(picture: Picture) -> list[bytes]:
    coding = [b"avif", b"mif1", b"miaf"] if picture.is_avif else [b"mif1", b"heic", b"miaf"]
    return list(dict.fromkeys([picture.brand, *coding]))


def _meta(picture: Picture, numbers: dict[int, int], lengths: list[int], begin: int) -> bytes:
    # Tiles and transparency are hidden from galleries.
    infos = [
        _full(b"infe", 2, int(number > 1), _short(number) + bytes(2) + item.kind + b"\0")
        for item, number in _in_order(picture)
    ]
    places = b""
    for number, length in enumerate(lengths, 1):
        places += _short(number) + _short(0) + _short(1) + _long(begin) + _long(length)
        begin += length
    references = b"".join(
        _box(kind, _short(numbers[start]) + _short(len(to)) + b"".join(_short(numbers[one]) for one in to))
        for kind, start, to in picture.references
    )
    return _full(
        b"meta",
        0,
        0,
        _full(b"hdlr", 0, 0, bytes(4) + b"pict" + bytes(13))
        + _full(b"pitm", 0, 0, _short(1))
        + _full(b"iloc", 0, 0, b"\x44\0" + _short(len(lengths)) + places)
        + _full(b"iinf", 0, 0, _short(len(infos)) + b"".join(infos))
        + (_full(b"iref", 0, 0, references) if references else b"")
        + _properties(picture),
    )


def _in_order(picture: Picture) -> list[tuple[Item, int]]:
    return [(item, at) for at, item in enumerate(picture.items, 1)]


def _properties(picture: Picture) -> bytes:
    """Each once, however many tiles share it."""
    places: dict[int, int] = {}
    written = associations = b""
    for item, number in _in_order(picture):
        said = [(box, essential, payload) for box, essential in item.properties if (payload := _said(box)) is not None]
        associations += _short(number) + bytes([len(said)])
        for box, essential, payload in said:
            if id(box) not in places:
                places[id(box)] = len(places) + 1
                written += _box(box.kind, payload)
            associations += _short(places[id(box)] | (0x8000 if essential else 0))
    ipma = _full(b"ipma", 0, 1, _long(len(picture.items)) + associations)
    return _box(b"iprp", _box(b"ipco", written) + ipma)


def _said(box: Box) -> bytes | None:
    """A property without what is only said to people; None for a colour profile that readers can make nothing of."""
    if box.kind != b"colr":
        return bytes(box.payload)
    kind, colours = bytes(box.payload[:4]), bytes(box.payload[4:])
    if kind == _CODING:
        return kind + colours[:_CODING_BYTES]
    return kind + profile if (profile := colours_only(colours)) else None


def _box(kind: bytes, payload: bytes) -> bytes:
    return _long(len(payload) + 8) + kind + payload


def _full(kind: bytes, version: int, flags: int, payload: bytes) -> bytes:
    return _box(kind, bytes([version]) + flags.to_bytes(3, "big") + payload)


def _short(number: int) -> bytes:
    return number.to_bytes(2, "big")


def _long(number: int) -> bytes:
    return number.to_bytes(4, "big")
