"""The photos that lie in a folder, in the order that a person expects, and what else lies there."""

import fnmatch
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from client.listing import BadRow, Feed, ListingUpload, PassedOver, composed, distinct
from shared.photo_formats import SUFFIXES
from shared.text import control_in, named, plain

# Images that nobody should miss without a word.
# fmt: off
OTHER_IMAGES = frozenset({
    ".3fr", ".apng", ".arw", ".avifs", ".bmp", ".cr2", ".cr3", ".dib", ".dng", ".emf", ".eps", ".erf", ".gif",
    ".heics", ".heifs", ".icns", ".ico", ".j2k", ".jp2", ".jpf", ".jpx", ".jxl", ".jxr", ".kdc", ".mng", ".mrw",
    ".nef", ".nrw", ".orf", ".pcx", ".pef", ".pgm", ".pnm", ".ppm", ".psb", ".psd", ".raf", ".raw", ".rw2", ".rwl",
    ".sr2", ".srf", ".srw", ".svg", ".tga", ".tif", ".tiff", ".wbmp", ".wmf", ".x3f", ".xcf",
})
# fmt: on
OTHERWISE = "convert it to JPEG, PNG, WebP, HEIC or AVIF"
NO_SUCH_FILE = "no such file"
# What other systems leave behind, thumbnails among it, beside all that is hidden by a dot (._x.jpg, .DS_Store,
# .Trashes, .@__thumb). As file names match them, in small letters.
LEFTOVERS = (
    "@eadir",  # Synology, as the next five
    "@tmp",
    "@synoresource",
    "*@synoresource",
    "*@synoeastream",
    "syno*_thumb*",
    "#recycle",
    "#snapshot",
    "@recycle",  # QNAP, as the next two
    "@recently-snapshot",
    "@__thumb",
    "__macosx",
    "icon\r",
    "network trash folder",
    "temporary items",
    "$recycle.bin",
    "system volume information",
    "thumbs.db*",
    "ehthumbs*.db",
    "desktop.ini",
    "*:zone.identifier",
    "_vti_cnf",
    "_vti_pvt",
    "lost+found",
    "picasa.ini",
    "~$*",
)
_LEFTOVER = re.compile("|".join(map(fnmatch.translate, LEFTOVERS)), re.DOTALL)


@dataclass
class Found:
    """What lies below a folder; paths are the folder's and what follows."""

    photos: list[Path] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)


def photos_below(folder: Path) -> Found:
    """Everything has its place: photos, what can't be one though it is named so, and what is none.

    Hidden files and other systems' leftovers alone are as if they weren't there. Links to files are followed; those to
    folders are not, since they may lead in circles. Never raises OSError.
    """
    found = Found()
    entries = sorted(_entries(folder, found), key=lambda path: natural(path.relative_to(folder)))
    for entry in entries:
        where = str(entry.relative_to(folder))
        kind, problem = _kind(entry)
        if kind == "folder link":
            found.passed_over.append(PassedOver(where, "a link to a folder, which is not followed: import that folder"))
        elif suffix_of(entry) in OTHER_IMAGES:
            found.bad.append(BadRow(where, "", f"{entry.suffix} is not accepted; {OTHERWISE}"))
        elif suffix_of(entry) not in SUFFIXES:
            found.passed_over.append(PassedOver(where, problem or "no photo by its name"))
        elif problem:
            found.bad.append(BadRow(where, "", problem))
        else:
            found.photos.append(entry)
    return found


def read_folder(folder: Path, seller_id: str, by_folder: bool = False) -> Feed:
    """Each photo below the folder is a listing, titled after its file, in the order of the paths.

    With `by_folder` each folder that holds photos is one listing, titled after the folder, its photos in the order of
    their names.
    """
    found = photos_below(folder)
    groups: dict[Path, list[Path]] = {}
    for photo in found.photos:
        groups.setdefault(photo.parent if by_folder else photo, []).append(photo)
    uploads, twice = distinct(
        [
            ListingUpload(
                reference=composed(named(name.relative_to(folder).as_posix())),
                seller_id=seller_id,
                title=_title(name.resolve().name if by_folder else name.stem),
                photos=tuple(members),
                origin=str(name.relative_to(folder)),
            )
            for name, members in groups.items()
        ]
    )
    return Feed(uploads, (*found.bad, *twice), tuple(found.passed_over))


def suffix_of(path: Path) -> str:
    return path.suffix.lower()


def problem_of(photo: Path) -> str:
    """Why this can't be read as a photo; "" when nothing tells against it."""
    return _kind(photo)[1]


def natural(path: Path) -> tuple[tuple[list[str | int], str, str], ...]:
    """Sorts photo2 before photo10, photo before photo 2, and small letters among capitals."""
    return tuple((_numbered(Path(part).stem), Path(part).suffix.lower(), part) for part in path.parts)


def _numbered(name: str) -> list[str | int]:
    # Text and numbers take turns, so that a number is never compared with a text.
    parts = re.split(r"(\d+)", composed(name).casefold())
    return [int(part) if at % 2 else part for at, part in enumerate(parts)]


def _entries(top: Path, found: Found) -> Iterator[Path]:
    """All below that isn't a folder itself; links to folders are no folders here."""
    folders = [top]
    while folders:
        folder = folders.pop()
        try:
            entries = [entry for entry in folder.iterdir() if not _is_leftover(entry.name)]
        except OSError as why:
            found.bad.append(BadRow(str(folder.relative_to(top)), "", f"cannot be read: {why.strerror}"))
            continue
        for entry in entries:
            if _is_folder(entry):
                folders.append(entry)
            else:
                yield entry


def _is_leftover(name: str) -> bool:
    return name.startswith(".") or _LEFTOVER.fullmatch(name.lower()) is not None


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _kind(path: Path) -> tuple[str, str]:
    """What stands there, and why it is no photo."""
    try:
        status = path.stat()
    except ValueError:
        return "nothing", "is no file's name"
    except FileNotFoundError:
        if path.is_symlink():
            return "broken link", f"a link to {path.readlink()}, which isn't there"
        return "nothing", NO_SUCH_FILE
    except OSError as why:
        return "unreadable", f"cannot be read: {why.strerror}"
    if stat.S_ISDIR(status.st_mode):
        return "folder link", "is a folder"
    if not stat.S_ISREG(status.st_mode):
        return "special", "is no file with contents but a pipe, socket or device"
    return "file", "" if status.st_size else "is empty: it has 0 bytes"


def _title(name: str) -> str:
    """ "red_t-shirt__02" reads "red t-shirt 02"; what a listing may not have in its title is spelled out."""
    text = composed(named(name))
    text = plain(text) if control_in(text) else text
    return " ".join(text.replace("_", " ").split()) or text
