"""What a file is that is none of ours, so that its sender is told what was sent rather than only "no"."""

from dataclasses import dataclass

_EXPORT = "Export it as a JPEG."
_STARTS = (
    (b"II*\0", "a TIFF", _EXPORT),
    (b"MM\0*", "a TIFF", _EXPORT),
    (b"BM", "a BMP", _EXPORT),
    (b"\xff\x0a", "a JPEG XL", _EXPORT),
    (b"\0\0\0\x0cJXL ", "a JPEG XL", _EXPORT),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000", _EXPORT),
    (b"8BPS", "a Photoshop document", _EXPORT),
    (b"%PDF", "a PDF document", "Export the page that shows the product as a JPEG."),
    (b"<svg", "an SVG drawing", "Export it as a PNG."),
)
_LOOKED_AT = 1024 * 1024  # bytes of a GIF; an animation's first frames are in them


@dataclass(frozen=True, slots=True)
class ForeignFormat:
    name: str
    remedy: str
    animated: bool = False


def describe(body: bytes) -> ForeignFormat | None:
    """None when the first bytes are those of nothing known."""
    if body.startswith((b"GIF87a", b"GIF89a")):
        if _has_several_frames(body):
            return ForeignFormat("GIF", "", animated=True)
        return ForeignFormat("a GIF", "Save it as a PNG.")
    for start, name, remedy in _STARTS:
        if body.startswith(start):
            return ForeignFormat(name, remedy)
    return None


def _has_several_frames(gif: bytes) -> bool:
    """Whether a GIF is an animation, by its blocks (GIF89a, appendix A), as far as they are looked at."""
    gif = gif[:_LOOKED_AT]
    at, frames = 13 + _table_bytes(gif[10:11]), 0
    while (block := gif[at : at + 1]) in (b",", b"!"):
        if block == b",":
            frames += 1
            at += 11 + _table_bytes(gif[at + 9 : at + 10])
        else:
            at += 2
        while length := int.from_bytes(gif[at : at + 1], "big"):
            at += 1 + length
        at += 1
    return frames > 1


def _table_bytes(flags: bytes) -> int:
    """The length of the colour table that a header with these flags announces."""
    told = int.from_bytes(flags, "big")
    return 3 * 2 ** ((told & 7) + 1) if told & 0x80 else 0
