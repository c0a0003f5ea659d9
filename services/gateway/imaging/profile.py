"""Colour profiles (ICC.1:2022, clause 7) without what says nothing about colours: names, copyrights, dates, makers."""

from collections.abc import Iterator

from shared.limits import MAX_PROFILE_BYTES

_HEADER_BYTES, _ENTRY_BYTES = 128, 12
_SIGNATURE = b"acsp"
_CLASSES = frozenset((b"scnr", b"mntr", b"prtr", b"spac"))
# Of the header: version; class, colours and what they are measured in; signature; intent and illuminant.
_OF_COLOURS = ((8, 24), (36, 40), (64, 80))
_MADE = b"\x07\xd0\0\1\0\1" + bytes(6)  # 2000-01-01: readers want a date that there was
_COLOURS = frozenset(
    (b"wtpt", b"chad", b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC", b"kTRC", b"A2B0", b"A2B1", b"A2B2")
)
# The standard wants them; an empty text will do.
_TEXTS = frozenset((b"desc", b"cprt"))
_NO_TEXT = b"mluc" + bytes(8) + b"\0\0\0\x0c"
# What a colour may be said by, and with how many bytes. Tables are as long as their author likes.
_SAID_BY = {b"XYZ ": 20, b"sf32": 44, b"para": 40} | dict.fromkeys(
    (b"curv", b"mft1", b"mft2", b"mAB "), MAX_PROFILE_BYTES
)


def colours_only(profile: bytes) -> bytes:
    """A profile that means the same colours and says nothing else; empty for what readers can make no colours of."""
    if profile[36:40] != _SIGNATURE or profile[12:16] not in _CLASSES:
        return b""
    tags: dict[bytes, bytes] = {}
    for name, data in _tags(profile):
        if name in _TEXTS:
            tags.setdefault(name, _NO_TEXT)
        elif name in _COLOURS and 0 < len(data) <= _SAID_BY.get(data[:4], 0):
            tags.setdefault(name, data)
        if sum(map(len, set(tags.values()))) > len(profile):
            return b""  # its parts overlap
    return _written(profile, tags) if tags.keys() & _COLOURS else b""


def _tags(profile: bytes) -> Iterator[tuple[bytes, bytes]]:
    count = int.from_bytes(profile[128:132], "big")
    table = profile[132 : 132 + _ENTRY_BYTES * min(count, 100)]  # LittleCMS reads no more either
    for at in range(0, len(table) - _ENTRY_BYTES + 1, _ENTRY_BYTES):
        begin, size = (int.from_bytes(table[at + n : at + n + 4], "big") for n in (4, 8))
        if begin + size <= len(profile):
            yield table[at : at + 4], profile[begin : begin + size]


def _written(profile: bytes, tags: dict[bytes, bytes]) -> bytes:
    """What several tags share is written once, as it came."""
    begin = _HEADER_BYTES + 4 + _ENTRY_BYTES * len(tags)
    places: dict[bytes, int] = {}
    table, data = len(tags).to_bytes(4, "big"), b""
    for name, one in tags.items():
        if one not in places:
            places[one] = begin + len(data)
            data += one + bytes(-len(one) % 4)
        table += name + places[one].to_bytes(4, "big") + len(one).to_bytes(4, "big")
    header = bytearray(_HEADER_BYTES)
    header[:4] = (begin + len(data)).to_bytes(4, "big")
    header[24:36] = _MADE
    for start, end in _OF_COLOURS:
        header[start:end] = profile[start:end]
    return bytes(header) + table + data
