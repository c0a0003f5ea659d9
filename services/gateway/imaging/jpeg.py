"""JPEG by its segments (ITU-T T.81, Annex B): find the size, and leave out what isn't the picture."""

from services.gateway.imaging.parts import Metadata, Size, check_profile, damaged, exif_with_only
from shared.containers import SOF, SOS, Frame, Segment, check_scans, frame_of, jpeg_segments

COM = 0xFE
APP0, APP1, APP2, APP11, APP13, APP14 = 0xE0, 0xE1, 0xE2, 0xEB, 0xED, 0xEE
_DATA, _DHT, _DAC, _DQT, _DRI = 0, 0xC4, 0xCC, 0xDB, 0xDD

_EXIF, _XMP, _ICC = b"Exif\0", b"http://ns.adobe.com/", b"ICC_PROFILE\0"
_JFIF, _JFIF_BYTES = b"JFIF\0", 14
_ADOBE, _ADOBE_BYTES = b"Adobe", 12

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
    frame: Frame | None = None
    scans = profile = 0
    for segment in jpeg_segments(body):
        if not _belongs_to_picture(segment):
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
        elif segment.marker == APP2:
            profile += len(segment.payload)
            check_profile(profile)
    parts: list[bytes | memoryview] = [b"\xff\xd8"]
    if kept and kept[0].marker == APP0:  # first by its standard
        parts.append(_trimmed(kept.pop(0)))
    if exif := exif_with_only(metadata.orientation()):
        parts.append(_segment(APP1, b"Exif\0\0" + exif))
    parts += [_trimmed(segment) for segment in kept]
    # What comes after the end is another picture (MPO, gain maps, motion photos) or none: it goes.
    return b"".join([*parts, b"\xff\xd9"]), metadata


def _belongs_to_picture(segment: Segment) -> bool:
    match segment.marker:
        case 0xE0:
            return segment.payload.startswith(_JFIF) and len(segment.payload) >= _JFIF_BYTES
        case 0xE2:
            return segment.payload.startswith(_ICC)
        case 0xEE:  # says how the colours are coded
            return segment.payload.startswith(_ADOBE) and len(segment.payload) >= _ADOBE_BYTES
        case marker:
            return marker in _PICTURE


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


def _trimmed(segment: Segment) -> bytes | memoryview:
    """Without a JFIF header's thumbnail, and without what follows where Adobe's ends."""
    match segment.marker:
        case 0xE0:
            return _segment(APP0, segment.payload[: _JFIF_BYTES - 2] + b"\0\0")
        case 0xEE:
            return _segment(APP14, segment.payload[:_ADOBE_BYTES])
        case _:
            return segment.raw


def _segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(payload) + 2).to_bytes(2, "big") + payload
