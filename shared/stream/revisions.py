"""Which revision of a listing is the newest that this process has been sent."""

from collections import OrderedDict

from vitrine.events.v1 import image_pb2

# Of the listings heard of last. More than a source holds ahead of its worker, which is what they are for; 2 MiB.
LISTINGS = 10_000


class Revisions:
    """Tells what a newer revision has made needless: each has an event of its own for each of its photos.

    A newer one that was only received counts too. Whoever owns its partition by then, it is looked at before anything
    behind it is committed. Belongs to the event loop.
    """

    def __init__(self, listings: int = LISTINGS) -> None:
        self._most = listings
        self._newest: OrderedDict[str, int] = OrderedDict()

    def note(self, upload: image_pb2.ImageUploaded) -> None:
        listing = upload.listing_id
        self._newest[listing] = max(upload.revision, self._newest.get(listing, upload.revision))
        self._newest.move_to_end(listing)
        if len(self._newest) > self._most:
            self._newest.popitem(last=False)

    def supersede(self, upload: image_pb2.ImageUploaded) -> bool:
        """Whether a newer revision of its listing has been noted."""
        return upload.revision < self._newest.get(upload.listing_id, upload.revision)
