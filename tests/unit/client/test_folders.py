"""What lies in a folder is a photo, bad, or passed over; nothing is lost without a word."""

import os
from pathlib import Path

import pytest

from client.folders import read_folder


def photo_files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def test_each_photo_of_a_folder_is_a_listing_titled_after_its_file(tmp_path: Path) -> None:
    photo_files(tmp_path, "red_t-shirt.jpg", "sub/a.PNG", "notes.txt", ".hidden/x.jpg", "sub/.thumb.jpg")
    feed = read_folder(tmp_path, "me")
    assert [(one.reference, one.title) for one in feed.uploads] == [
        ("red_t-shirt.jpg", "red t-shirt"),
        ("sub/a.PNG", "a"),
    ]
    assert feed.bad == ()
    assert [str(one) for one in feed.passed_over] == ["notes.txt: no photo by its name"]


def test_by_folder_each_folder_of_photos_is_a_listing(tmp_path: Path) -> None:
    photo_files(tmp_path, "shoe/2.jpg", "shoe/1.jpg", "hat/1.webp")
    hat, shoe = read_folder(tmp_path, "me", by_folder=True).uploads
    assert (hat.reference, hat.title, len(hat.photos)) == ("hat", "hat", 1)
    assert [photo.name for photo in shoe.photos if isinstance(photo, Path)] == ["1.jpg", "2.jpg"]


def test_images_that_the_gateway_refuses_by_kind_are_reported_not_uploaded(tmp_path: Path) -> None:
    photo_files(tmp_path, "a.GIF", "b.jpg")
    feed = read_folder(tmp_path, "me")
    assert [str(bad) for bad in feed.bad] == [
        "a.GIF: .GIF is not accepted; convert it to JPEG, PNG, WebP, HEIC or AVIF"
    ]
    assert len(feed.uploads) == 1


@pytest.mark.parametrize(
    "suffix", ["jpg", "jpeg", "jpe", "jfif", "JFIF", "png", "webp", "WebP", "heic", "HEIC", "heif", "hif", "avif"]
)
def test_a_photo_is_known_by_any_of_its_suffixes(tmp_path: Path, suffix: str) -> None:
    photo_files(tmp_path, f"a.{suffix}")
    feed = read_folder(tmp_path, "me")
    assert [one.reference for one in feed.uploads] == [f"a.{suffix}"]
    assert not feed.bad and not feed.passed_over


LEFT_BEHIND = (
    "._a.jpg .DS_Store .Trashes/a.jpg .@__thumb/a.jpg __MACOSX/._a.jpg __MACOSX/a.jpg Thumbs.db desktop.ini "
    "Desktop.ini @eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg sub/@eaDir/x.jpg @Recycle/a.jpg "
    "#recycle/a.jpg $RECYCLE.BIN/S-1/a.jpg .picasaoriginals/a.jpg @Recently-Snapshot/a.jpg "
    "#snapshot/a.jpg ehthumbs_vista.db a.jpg:Zone.Identifier"
)


@pytest.mark.parametrize("name", [*LEFT_BEHIND.split(), "System Volume Information/a.jpg", "Icon\r"])
def test_what_other_systems_leave_behind_is_as_if_it_were_not_there(tmp_path: Path, name: str) -> None:
    photo_files(tmp_path, "good.jpg", name)
    feed = read_folder(tmp_path, "me")
    assert [one.reference for one in feed.uploads] == ["good.jpg"]
    assert not feed.bad and not feed.passed_over


def names(source_photos: tuple[object, ...]) -> list[str]:
    return [photo.name for photo in source_photos if isinstance(photo, Path)]


@pytest.mark.parametrize(
    "expected",
    [
        ["photo1.jpg", "photo2.jpg", "photo10.jpg"],
        ["IMG_2.jpg", "img_3.JPG", "IMG_10.jpg"],
        ["photo.jpg", "photo 2.jpg", "photo 11.jpg"],
        ["a.jpg", "a (1).jpg", "a (2).jpg", "a (10).jpg"],
        ["1.jpg", "02.jpg", "3.jpg", "a.jpg"],
        ["照片2.jpg", "照片10.jpg"],
        ["p٢.jpg", "p١٠.jpg"],
        ["2.jpg", "2b.jpg", "10.jpg", "10b.jpg"],
        ["v1.2.jpg", "v1.10.jpg"],
    ],
)
def test_photos_come_in_the_order_that_people_expect(tmp_path: Path, expected: list[str]) -> None:
    photo_files(tmp_path, *(f"Tee/{name}" for name in sorted(expected)))
    (one,) = read_folder(tmp_path, "me", by_folder=True).uploads
    assert names(one.photos) == expected


def test_folders_come_in_that_order_too(tmp_path: Path) -> None:
    photo_files(tmp_path, "box10/a.jpg", "Box2/b.jpg", "box1/10.jpg", "box1/9.jpg")
    assert [one.reference for one in read_folder(tmp_path, "me").uploads] == [
        "box1/9.jpg",
        "box1/10.jpg",
        "Box2/b.jpg",
        "box10/a.jpg",
    ]


def test_what_a_title_may_not_have_is_spelled_out_in_it(tmp_path: Path) -> None:
    photo_files(tmp_path, "a\x1b[2J.jpg", "b\u202eb.jpg", "نمی\u200cخواهم.jpg")
    titles = {one.title for one in read_folder(tmp_path, "me").uploads}
    assert titles == {r"a\x1b[2J", r"b\u202eb", "نمی\u200cخواهم"}


def test_a_name_that_is_not_utf_8_is_imported_like_any_other(tmp_path: Path) -> None:
    photo_files(tmp_path, "a.jpg", "z.jpg")
    for name in (b"caf\xe9.jpg", b"caf\xe8.jpg"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(name)
    feed = read_folder(tmp_path, "me")
    assert {one.reference for one in feed.uploads} == {"a.jpg", "z.jpg", r"caf\xe9.jpg", r"caf\xe8.jpg"}
    assert all(one.key and one.title.encode() for one in feed.uploads)


def test_a_name_is_the_same_however_its_accents_are_stored(tmp_path: Path) -> None:
    photo_files(tmp_path, "cafe\u0301.jpg")
    (one,) = read_folder(tmp_path, "me").uploads
    assert (one.reference, one.title) == ("caf\u00e9.jpg", "caf\u00e9")
    photo_files(tmp_path, "caf\u00e9.jpg")
    feed = read_folder(tmp_path, "me")
    assert len(feed.uploads) == 1 and "references are unique" in str(feed.bad[0])


def odd(folder: Path) -> None:
    photo_files(folder, "good.jpg", "elsewhere/target.png", "folder.jpg/inner.jpg")
    (folder / "empty.jpg").touch()
    (folder / "broken.jpg").symlink_to(folder / "gone.jpg")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    (folder / "link.jpg").symlink_to(folder / "elsewhere" / "target.png")
    (folder / "again").symlink_to(folder)
    (folder / "album.jpg").symlink_to(folder / "elsewhere")
    os.mkfifo(folder / "pipe.jpg")
    os.mkfifo(folder / "pipe")
    (folder / "dangling").symlink_to(folder / "nowhere")


def test_whatever_is_named_like_a_photo_is_imported_or_named(tmp_path: Path) -> None:
    odd(tmp_path)
    feed = read_folder(tmp_path, "me")
    imported = [one.reference for one in feed.uploads]
    assert imported == ["elsewhere/target.png", "folder.jpg/inner.jpg", "good.jpg", "link.jpg"]
    assert [bad.where for bad in feed.bad] == ["broken.jpg", "empty.jpg", "loop.jpg", "pipe.jpg"]
    assert [one.where for one in feed.passed_over] == ["again", "album.jpg", "dangling", "pipe"]
    said = " | ".join(map(str, (*feed.bad, *feed.passed_over)))
    for words in ("which isn't there", "0 bytes", "symbolic links", "pipe, socket or device", "link to a folder"):
        assert words in said


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo_files(tmp_path, "good.jpg", "locked/a.jpg")
    listed = Path.iterdir

    def refusing(folder: Path) -> object:
        if folder.name == "locked":
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", refusing)
    feed = read_folder(tmp_path, "me")
    assert len(feed.uploads) == 1
    assert [str(bad) for bad in feed.bad] == ["locked: cannot be read: Permission denied"]
