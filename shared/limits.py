"""What a photo may measure, everywhere that one comes in or is read, and what a message with one may."""

# Bytes of a photo as it was sent or stored.
MAX_PHOTO_BYTES = 20 * 1024 * 1024
# Pixels, width x height. The workers read what the gateway may be set to accept at most (Pillow opens 89 million
# without a warning).
MAX_PHOTO_PIXELS = 64_000_000
ACCEPTED_PHOTO_PIXELS = 50_000_000  # the gateway's default
MAX_PHOTO_SIDE = 30_000
# A gRPC message with a photo in it, of every client and server; gRPC's own limit is 4 MiB.
MAX_MESSAGE_BYTES = MAX_PHOTO_BYTES + 1024 * 1024
# What a process holds at most of pictures that are being decoded: one of the largest of the costliest kind, or more of
# smaller ones (shared/decoding.py).
DECODING_BYTES = 832 * 1024 * 1024
