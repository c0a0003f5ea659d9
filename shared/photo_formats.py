"""The photo formats that come in and are read: what they are called, and how files of them end."""

NAMES = "JPEG, PNG, WebP, HEIC and AVIF"
# By a file's ending, in lower case.
MEDIA_TYPES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".pjpeg", ".pjp"), "image/jpeg"),
    ".png": "image/png",
    ".webp": "image/webp",
    ".heic": "image/heic",
    **dict.fromkeys((".heif", ".hif"), "image/heif"),
    ".avif": "image/avif",
}
SUFFIXES = frozenset(MEDIA_TYPES)
