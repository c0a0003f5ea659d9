"""What the three file formats have in common: a size, what was taken out, and how a photo can be bad."""

import re
import struct
from dataclasses import dataclass, field

from PIL import ExifTags, Image

_TIFF_ORIENTATIONS = range(2, 9)  # 1 is upright and needs no saying


class BadPhoto(Exception):
    """Why a photo is refused.

    `code` is one of a few fixed words, `message` says what is wrong with this photo, `remedy` what its sender can do.
    """

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(f"{code}: {message} {remedy}")
        self.code = code
        self.message = message
        self.remedy = remedy


def damaged(why: str) -> BadPhoto:
    return BadPhoto(
        "damaged-photo",
        f"The photo is damaged or incomplete: {why}.",
        "Send the whole file again; if it doesn't open in an image viewer either, export it anew.",
    )


@dataclass(frozen=True, slots=True)
class Size:
    """Pixels as they are stored, before any orientation."""

    width: int
    height: int
    animated: bool = False


@dataclass(slots=True)
class Metadata:
    """What a photo carried beside its pixels, collected while it is taken out."""

    exif: bytes = b""  # a TIFF structure, without any prefix
    xmp: bytes = b""
    software: str = ""  # PNG's own Software text
    notes: list[bytes] = field(default_factory=list)  # everything else that may name a generator
    c2pa: bool = False

    def orientation(self) -> int:
        """EXIF's, 1 to 8; 1 if there is none or it makes no sense. XMP's is ignored, as browsers do."""
        stated = _exif_tag(self.exif, ExifTags.Base.Orientation)
        return stated if isinstance(stated, int) and stated in _TIFF_ORIENTATIONS else 1


def exif_with_only(orientation: int) -> bytes:
    """A TIFF structure with this one tag; empty for upright photos, which need none."""
    if orientation not in _TIFF_ORIENTATIONS:
        return b""
    # Little endian, one directory of one entry: tag 0x0112, SHORT, count 1.
    return struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, ExifTags.Base.Orientation, 3, 1, orientation, 0, 0)


def editor_of(metadata: Metadata) -> str:
    """The software that last wrote the photo, as far as it says so; at most 100 characters."""
    software = _exif_tag(metadata.exif, ExifTags.Base.Software)
    if isinstance(software, str) and software.strip("\0 "):
        return _tidy(software)
    if found := _CREATOR_TOOL.search(metadata.xmp):
        return _tidy(found.group(1).decode(errors="replace"))
    return _tidy(metadata.software)


def generator_of(metadata: Metadata) -> str:
    """The known image generator that the metadata name, or an empty string."""
    for text in (metadata.exif, metadata.xmp, metadata.software.encode(), *metadata.notes):
        readable = text.replace(b"\0", b"")  # UTF-16, as EXIF's user comment is written
        for name, pattern in _GENERATORS:
            if pattern.search(readable):
                return name
    return ""


def _exif_tag(tiff: bytes, tag: int) -> object:
    if not tiff:
        return None
    exif = Image.Exif()
    try:
        exif.load(b"Exif\0\0" + tiff)
        return exif.get(tag)
    # Metadata that nobody can read say nothing; the photo itself may be sound.
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error):
        return None


def _tidy(text: str) -> str:
    return "".join(c for c in text if c.isprintable()).strip()[:100]


_CREATOR_TOOL = re.compile(rb"CreatorTool(?:=[\"']|>)([^<\"']{1,200})")

_GENERATORS = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in {
        "Midjourney": rb"\bmidjourney\b",
        "DALL-E": rb"\bdall[-\xb7\xe2\x80\xa2 ]{0,3}e\b",
        "ComfyUI": rb"\bcomfyui\b|\"class_type\"\s*:\s*\"KSampler",
        "Stable Diffusion": rb"\bstable[ -]?diffusion\b|Steps: \d+, Sampler: ",
        "InvokeAI": rb"\binvoke[ -]?ai\b|\binvokeai_metadata\b",
        "NovelAI": rb"\bnovel[ -]?ai\b",
        "Adobe Firefly": rb"\badobe[ _]firefly\b",
        "Google AI": rb"\bmade with google ai\b",
        "OpenAI": rb"\bgpt-4o\b|\bopenai\b|\bchatgpt\b",
        "Ideogram": rb"\bideogram\b",
        "Leonardo.Ai": rb"\bleonardo\.ai\b",
        "Flux": rb"\bblack forest labs\b",
        # IPTC's word for "made by a model", whichever.
        "unnamed": rb"\btrainedAlgorithmicMedia\b",
    }.items()
)
