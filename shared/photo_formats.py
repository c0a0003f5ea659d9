"""The photo formats that come in and are read: what they are called, and how files of them end."""

NAMES = "JPEG, PNG, WebP, HEIC and AVIF"
# By a file's ending, in lower case.
MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".jpe": "image/jpeg",
    ".jfif": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".hif": "image/heif",
    ".avif": "image/avif",
}
SUFFIXES = frozenset(MEDIA_TYPES)
