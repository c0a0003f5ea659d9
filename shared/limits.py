"""What a photo may measure and cost: one table for gateway, workers and EmbedPhoto, and what a message with one may.

What follows from it for one photo is estimated from its header, before anything is decoded (Opened in
shared/decoding.py).
"""

# Bytes of a photo as it was sent or stored.
MAX_PHOTO_BYTES = 20 * 1024 * 1024
# Pixels, width x height. The workers read what the gateway may be set to accept at most (Pillow opens 89 million
# without a warning).
MAX_PHOTO_PIXELS = 64_000_000
ACCEPTED_PHOTO_PIXELS = 50_000_000  # the gateway's default
MAX_PHOTO_SIDE = 30_000
# A gRPC message with a photo in it, of every client and server; gRPC's own limit is 4 MiB.
MAX_MESSAGE_BYTES = MAX_PHOTO_BYTES + 1024 * 1024
# A gRPC answer with listings in it, for clients of anybody's: what they take unless told otherwise.
MAX_ANSWER_BYTES = 4 * 1024 * 1024
# Segments of a JPEG, chunks of a PNG or WebP. The largest photo in the chunks of 8 KiB that libpng writes has 2,560.
MAX_PARTS = 10_000
# Between a JPEG's segments: fill bytes, and what cameras leave there.
MAX_STRAY_BYTES = 64 * 1024
# Scans of a JPEG: progressive ones come in about 10, those of CMYK in 18. A decoder goes over all pixels in each, so
# that a photo of 50 megapixels may have 20.
MAX_SCANS = 100
MAX_SCANNED_PIXELS = 1_000_000_000
# Of a HEIF: items, of which libheif reads no more either, boxes one after the other, pieces in which its data lie, what
# is said of items, and units of coded data in all.
MAX_ITEMS = 1000
MAX_BOXES = 4000
MAX_EXTENTS = 4000
MAX_ASSOCIATIONS = 32_000
MAX_UNITS = 10_000
# A colour profile. Those of printing presses, with their tables, have up to 3 MiB.
MAX_PROFILE_BYTES = 4 * 1024 * 1024
# Of EXIF, XMP and texts together, inflated, no more is read, and what follows is thrown away unread.
MAX_METADATA_BYTES = 1024 * 1024
# The texts of a PNG that comes to a decoder with them, as a shopper's does: inflated, in all. Pillow would keep 64 MiB.
MAX_TEXT_BYTES = 4 * 1024 * 1024
# What a process holds at most of pictures that are being decoded: one of the largest of the costliest kind, or more of
# smaller ones (shared/decoding.py).
DECODING_BYTES = 832 * 1024 * 1024
# What is suspicious is decoded by so many processes beside it (shared/apart). Each holds as much itself: 45 MiB at
# first, 66 once it has decoded the largest.
DECODING_HELPERS = 2
HELPER_BYTES = 80 * 1024 * 1024
# More pixels than so many for each byte of a file, and more than so many in all, counted anew for each scan: a photo
# of 50 megapixels is 5 MiB or more, and those before a white ground have 30 for each byte.
SUSPICIOUS_PIXELS, SUSPICIOUS_PIXELS_A_BYTE = 4_000_000, 100
# A suspicious photo has so many seconds of a processor. The clock's are for one that waits for ever.
DECODING_CPU_SECONDS = 8.0
DECODING_SECONDS = 60.0
