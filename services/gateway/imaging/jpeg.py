"""JPEG by its segments (ITU-T T.81, Annex B): find the size, and leave out what isn't the picture."""

from services.gateway.imaging.parts import Metadata, Size, check_profile, damaged, exif_with_only
from services.gateway.imaging.profile import colours_only
from shared.containers import SOF, SOS, Frame, Segment, check_scans, frame_of, jpeg_segments

COM = 0xFE
APP0, APP1, APP2, APP11, APP13, APP14 = 0xE0, 0xE1, 0xE2, 0xEB, 0xED, 0xEE
_DATA, _DHT, _DAC, _DQT, _DRI = 0, 0xC4, 0xCC, 0xDB, 0xDD

_EXIF, _XMP, _ICC = b"Exif\0", b"http://ns.adobe.com/", b"ICC_PROFILE\0"
_JFIF, _JFIF_BYTES = b"JFIF\0", 14
# Its last byte says how the colours are coded; version and flags say nothing to a decoder.
_ADOBE, _ADOBE_BYTES = b"Adobe", 12
_ADOBE_WITHOUT_IT = b"Adobe\0\x64\0\0\0\0"
_CODINGS = 3
_MOST_PAYLOAD = 65_533
_END = b"\xff\xd9"

# Of all others decoders make nothing.
_PICTURE = SOF | {_DATA, _DHT, _DAC, _DQT, _DRI, SOS}


def size(body: bytes) -> Size:
    """What the frame header says. Raises BadPhoto when there is none, and BadContainer."""
    for segment in jpeg_segments(body):
        if segment.marker in SOF:
            frame = frame_of(segment)
            return Size(frame.width, frame.height)
        if segment.marker == SOS:
            break
    raise damaged("no JPEG frame header was found")


def strip(body: bytes) -> tuple[bytes, Metadata]:
    """The picture alone, and what was taken out.

    Raises BadContainer when the file ends before its end marker or has too many parts, and BadPhoto for a profile that
    is none.
    """
    metadata = Metadata()
    kept: list[Segment] = []
    headers: dict[int, bytes] = {}  # JFIF's and Adobe's, each once
    profile: list[bytes] = []
    frame: Frame | None = None
    scans = profile_bytes = 0
    for segment in jpeg_segments(body):
        if header := _header(segment):
            if not scans:  # what comes later is read by nobody
                headers[segment.marker] = header
            continue
        if segment.marker == APP2 and segment.payload.startswith(_ICC):
            profile.append(segment.payload[len(_ICC) :])
            profile_bytes += len(segment.payload)
            check_profile(profile_bytes)
            continue
        if segment.marker not in _PICTURE:
            _note(segment, metadata)
            continue
        kept.append(segment)
        if segment.marker in SOF:
            if frame:
                raise damaged("it has two JPEG frame headers")
            frame = frame_of(segment)
        elif segment.marker == SOS:
            if not frame:
                raise damaged("a JPEG scan comes before the frame header")
            scans += 1
            check_scans(scans, frame)
    parts: list[bytes | memoryview] = [b"\xff\xd8"]
    if APP0 in headers:  # first by its standard
        parts.append(_segment(APP0, headers[APP0]))
    if exif := exif_with_only(metadata.orientation()):
        parts.append(_segment(APP1, b"Exif\0\0" + exif))
    parts += _profile(profile)
    if APP14 in headers:
        parts.append(_segment(APP14, headers[APP14]))
    parts += [segment.raw for segment in kept]
    # What comes after the end is another picture (MPO, gain maps, motion photos) or none: it goes.
    return _ended(b"".join(parts)), metadata


def without_last(body: bytes, unread: int) -> bytes:
    """A stripped JPEG without so many bytes before its end marker."""
    return _ended(body[: -len(_END) - unread])


def _ended(body: bytes) -> bytes:
    """Without fill bytes before the end marker, of which any number may stand there, and which no decoder counts."""
    return body.rstrip(b"\xff") + _END


def _header(segment: Segment) -> bytes:
    """What decoders need of a JFIF or Adobe header: no thumbnail, no notes. Empty for other segments."""
    payload = segment.payload
    if segment.marker == APP0 and payload.startswith(_JFIF) and len(payload) >= _JFIF_BYTES:
        return payload[: _JFIF_BYTES - 2] + b"\0\0"
    if segment.marker == APP14 and payload.startswith(_ADOBE) and len(payload) >= _ADOBE_BYTES:
        coding = payload[_ADOBE_BYTES - 1]
        return _ADOBE_WITHOUT_IT + bytes([coding if coding < _CODINGS else _CODINGS])
    return b""


def _profile(pieces: list[bytes]) -> list[bytes]:
    """In segments, each with its number and how many there are. Where some are missing decoders see none."""
    pieces = sorted(pieces)
    if not pieces or len(pieces[0]) < 2 or pieces[0][1] != len(pieces):
        return []
    profile = colours_only(b"".join(piece[2:] for piece in pieces))
    room = _MOST_PAYLOAD - len(_ICC) - 2
    parts = [profile[at : at + room] for at in range(0, len(profile), room)]
    return [_segment(APP2, _ICC + bytes((at, len(parts))) + part) for at, part in enumerate(parts, 1)]


def _note(segment: Segment, metadata: Metadata) -> None:
    payload = segment.payload
    if segment.marker == APP1 and payload.startswith(_EXIF):
        if not metadata.exif:
            metadata.read_exif(payload[6:])
    elif segment.marker == APP1 and payload.startswith(_XMP):
        metadata.xmp += metadata.read(payload)
    elif segment.marker in (COM, APP11, APP13):
        # JPEG universal metadata boxes; C2PA's say so in their description box.
        metadata.c2pa |= segment.marker == APP11 and payload.startswith(b"JP") and b"c2pa" in payload
        metadata.notes.append(metadata.read(payload))


def _segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(payload) + 2).to_bytes(2, "big") + payload
