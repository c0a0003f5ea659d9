"""What the three file formats have in common: a size, what was taken out, and how a photo can be bad."""

import re
import struct
from dataclasses import dataclass, field

from PIL import ExifTags, Image

from shared.decoding import UNREADABLE, orientation_in
from shared.limits import MAX_METADATA_BYTES, MAX_PROFILE_BYTES

_DIRECTORY_BYTES = 64 * 1024  # where its tags are looked for: a JPEG's EXIF is no longer
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


def check_profile(size: int, most: int = MAX_PROFILE_BYTES) -> None:
    """Raises BadPhoto for a colour profile whose parts, unpacked, have more bytes together."""
    if size > most:
        raise BadPhoto(
            "profile-too-large",
            f"The photo's colour profile has more than {most:,} bytes, which is the most.",
            "Export the photo with an sRGB profile.",
        )


@dataclass(frozen=True, slots=True)
class Size:
    """Pixels as they are stored, before any orientation."""

    width: int
    height: int
    animated: bool = False


@dataclass(slots=True)
class Metadata:
    """What a photo carried beside its pixels, collected while it is taken out.

    Of EXIF, and of all else together, no more than MAX_METADATA_BYTES is read: that much says who wrote it. `room` is
    what is left for all else.
    """

    exif: bytes = b""  # a TIFF structure, without any prefix
    xmp: bytearray = field(default_factory=bytearray)
    software: str = ""  # PNG's own Software text
    notes: list[bytes] = field(default_factory=list)  # everything else that may name a generator
    c2pa: bool = False
    room: int = MAX_METADATA_BYTES

    def read_exif(self, tiff: bytes | memoryview) -> None:
        """Whatever came before it: it says which way is up."""
        self.exif = bytes(tiff[:MAX_METADATA_BYTES])

    def read(self, data: bytes | memoryview) -> bytes:
        """As much of it as there is room for."""
        taken = bytes(data[: self.room])
        self.room -= len(taken)
        return taken

    def orientation(self) -> int:
        """EXIF's, 1 to 8; 1 if there is none or it makes no sense. XMP's is ignored, as browsers do."""
        return orientation_in(self.exif) if self.exif else 1


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
    for text in (metadata.exif, bytes(metadata.xmp), metadata.software.encode(), *metadata.notes):
        readable = text.replace(b"\0", b"").lower()  # UTF-16, as EXIF's user comment is written
        for name, words, pattern in _GENERATORS:
            if any(word in readable for word in words) and pattern.search(readable):
                return name
    return ""


def _exif_tag(tiff: bytes, tag: int) -> object:
    if not tiff:
        return None
    exif = Image.Exif()
    try:
        exif.load(b"Exif\0\0" + tiff[:_DIRECTORY_BYTES])
        return exif.get(tag)
    # Metadata that nobody can read say nothing; the photo itself may be sound.
    except UNREADABLE:
        return None


def _tidy(text: str) -> str:
    return "".join(c for c in text if c.isprintable()).strip()[:100]


_CREATOR_TOOL = re.compile(rb"CreatorTool(?:=[\"']|>)([^<\"']{1,200})")

# Name, words of which one must occur, and the pattern that then decides. All in lower case: to look for a word costs a
# fiftieth of looking for a pattern, and metadata are long.
_GENERATORS = tuple(
    (name, words, re.compile(pattern))
    for name, words, pattern in (
        ("Midjourney", (b"midjourney",), rb"\bmidjourney\b"),
        ("DALL-E", (b"dall",), rb"\bdall[-\xb7\xe2\x80\xa2 ]{0,3}e\b"),
        ("ComfyUI", (b"comfyui", b"ksampler"), rb"\bcomfyui\b|\"class_type\"\s*:\s*\"ksampler"),
        ("Stable Diffusion", (b"diffusion", b"sampler: "), rb"\bstable[ -]?diffusion\b|steps: \d+, sampler: "),
        ("InvokeAI", (b"invoke",), rb"\binvoke[ -]?ai\b|\binvokeai_metadata\b"),
        ("NovelAI", (b"novel",), rb"\bnovel[ -]?ai\b"),
        ("Adobe Firefly", (b"firefly",), rb"\badobe[ _]firefly\b"),
        ("Google AI", (b"made with google ai",), rb"\bmade with google ai\b"),
        ("OpenAI", (b"gpt-4o", b"openai", b"chatgpt"), rb"\bgpt-4o\b|\bopenai\b|\bchatgpt\b"),
        ("Ideogram", (b"ideogram",), rb"\bideogram\b"),
        ("Leonardo.Ai", (b"leonardo.ai",), rb"\bleonardo\.ai\b"),
        ("Flux", (b"black forest labs",), rb"\bblack forest labs\b"),
        # IPTC's word for "made by a model", whichever.
        ("unnamed", (b"trainedalgorithmicmedia",), rb"\btrainedalgorithmicmedia\b"),
    )
)
