"""What a path offers for import, be it a folder or a CSV."""

from pathlib import Path

from client.folders import read_folder, suffix_of
from client.listing import Feed, NotImportable
from client.sheets import read_csv
from shared.photo_formats import MEDIA_TYPES
from shared.text import plain, unseen_in

SELLER = "local"  # of a folder whose seller isn't said


def read_feed(path: Path, seller_id: str | None = None, by_folder: bool = False) -> Feed:
    """Raises NotImportable when it is neither, or holds nothing to import."""
    seller_id = seller_id.strip() if seller_id else None
    if seller_id and (char := unseen_in(seller_id)):
        raise NotImportable(f"{plain(seller_id)!r} is no seller's id: it has {char}, which nobody sees")
    if path.is_dir():
        feed = read_folder(path, seller_id or SELLER, by_folder)
    elif suffix_of(path) in MEDIA_TYPES:
        raise NotImportable(f"{path} is a photo; give the folder that it lies in, or a CSV")
    else:
        feed = read_csv(path, seller_id)
    if not feed.uploads and not feed.bad:
        kinds = ", ".join(MEDIA_TYPES)
        raise NotImportable(f"nothing to import in {path}: expected photos ({kinds}) or rows under a CSV header")
    return feed
