"""The colours that people see: pixels are converted from their embedded ICC profile to sRGB.

Most profiles are sRGB's own. So each is judged once by what it does to a small cube of colours, and one that changes
none of them visibly is not applied: the common photo costs a dictionary look-up.
"""

import struct
from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

from shared.limits import MAX_PROFILE_BYTES

# Levels of 255. Rounding makes two of them; camera makers' variants of sRGB a few more.
VISIBLE = 6
_STEPS = 9

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_MODES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
# Chains of calculations as long as their author likes: eight bytes of a file can cost minutes.
_CHAINS = frozenset((b"D2B0", b"D2B1", b"D2B2", b"D2B3"))


def in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB, of an image in RGB, L or CMYK. A profile for other colours than the image's, or a broken one, is ignored."""
    conversion = _conversion(profile) if profile and len(profile) <= MAX_PROFILE_BYTES else None
    if conversion is not None:
        mode, transform = conversion
        # Grey pictures often carry a profile for colours.
        if image.mode == "L" and mode == "RGB":
            image = image.convert("RGB")
        if image.mode == mode:
            return ImageCms.applyTransform(image, transform) or image
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=32)
def _conversion(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform] | None:
    """The mode that it takes, and what makes it sRGB. None when that changes next to nothing, or can't be made."""
    mode = _MODES.get(profile[16:20])
    if mode is None or _has_chains(profile):
        return None
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(BytesIO(profile)), _SRGB, mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC
        )
        return (mode, transform) if mode == "CMYK" or _is_visible(transform, mode) else None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, SyntaxError):
        return None


def _has_chains(profile: bytes) -> bool:
    count = min(int.from_bytes(profile[128:132], "big"), max(0, len(profile) - 132) // 12)
    return any(tag in _CHAINS for tag, _, _ in struct.iter_unpack(">4sII", profile[132 : 132 + 12 * count]))


def _is_visible(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    levels = np.linspace(0, 255, _STEPS).astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(_STEPS, -1, 3)
    before = Image.fromarray(np.ascontiguousarray(cube if mode == "RGB" else cube[:, :, 0]))
    after = ImageCms.applyTransform(before, transform)
    difference = np.asarray(after, np.int16) - np.asarray(before.convert("RGB"), np.int16)
    return bool(np.abs(difference).max() > VISIBLE)
