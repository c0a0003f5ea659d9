"""Decoding in a process that may die of it: whoever asked is none the worse for it."""

import io
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
from PIL import Image

import services.gateway.imaging as imaging
from services.gateway.imaging import BadPhoto, clean
from shared.apart import Helpers, Undecodable
from shared.decoding import Room, decode_whole, opened
from shared.errors import Poison, Transient
from shared.vision import decode as in_pixels
from shared.vision.decode import decode, decode_here

MIB = 1024 * 1024
# A helper whose decoder does what the photo tells it to.
OBEDIENT = """
import os, signal, sys
from pathlib import Path
from shared.apart import __main__ as helper

def whole(body, question):
    match body.split():
        case [b"crash"]:
            os.kill(os.getpid(), signal.SIGSEGV)
        case [b"crash", b"once", path] if not Path(path.decode()).exists():
            Path(path.decode()).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        case [b"spin"]:
            while True:
                pass
        case [b"wait"]:
            signal.pause()
        case [b"take", mebibytes]:
            bytearray(int(mebibytes) * 1024 * 1024)
        case [b"say", *_]:
            raise ValueError(f"{os.getpid()} {sorted(os.environ)}")
    return {"unread": 0}, b""

helper.WHAT["whole"] = whole
helper.WHAT["pixels"] = whole
helper.main()
"""


@pytest.fixture
def helpers() -> Iterator[Helpers]:
    helpers = Helpers(seconds=20, program=("-c", OBEDIENT))
    yield helpers
    helpers.close()


def check(helpers: Helpers, body: bytes, room: int = 100 * MIB) -> None:
    helpers.decode_whole(body, room, nullcontext())


def refusal(helpers: Helpers, body: bytes) -> str:
    with pytest.raises(Undecodable) as why:
        check(helpers, body)
    return str(why.value)


def said(helpers: Helpers) -> tuple[int, str]:
    pid, _, environment = refusal(helpers, b"say").partition(" ")
    return int(pid), environment


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_helper_goes_on_after_a_photo_that_can_not_be_decoded(helpers: Helpers) -> None:
    check(helpers, b"sound")
    pid, _ = said(helpers)
    check(helpers, b"sound")
    assert said(helpers)[0] == pid


def test_a_photo_that_a_decoder_crashes_on_is_that_photos_fault_alone(helpers: Helpers) -> None:
    before, _ = said(helpers)
    assert f"status -{signal.SIGSEGV.value}" in refusal(helpers, b"crash")
    check(helpers, b"sound")
    assert said(helpers)[0] != before


def test_a_helper_that_is_killed_from_outside_has_no_photo_refused(helpers: Helpers, tmp_path: Path) -> None:
    check(helpers, b"crash once " + str(tmp_path / "killed").encode())
    assert (tmp_path / "killed").exists()


def test_a_decoder_that_never_ends_is_ended() -> None:
    helpers = Helpers(cpu_seconds=0.3, seconds=20, program=("-c", OBEDIENT))
    pid, _ = said(helpers)
    assert "more than 0.3 s of a processor" in refusal(helpers, b"spin")
    assert not runs(pid)
    check(helpers, b"sound")
    helpers.close()


def test_a_decoder_that_waits_for_ever_is_ended() -> None:
    helpers = Helpers(seconds=0.5, program=("-c", OBEDIENT))
    assert "not decoded within 0.5 s" in refusal(helpers, b"wait")
    helpers.close()


def test_a_photo_has_the_memory_that_it_was_estimated_to_need_and_a_little_more(helpers: Helpers) -> None:
    check(helpers, b"take 150")
    assert refusal(helpers, b"take 400") == "MemoryError"
    check(helpers, b"take 150")


def test_a_helper_is_told_no_secrets(helpers: Helpers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert "AWS" not in said(helpers)[1]


def test_what_can_not_be_started_is_no_photos_fault() -> None:
    with pytest.raises(Transient, match="status 3 before it was asked"):
        check(Helpers(program=("-c", "raise SystemExit(3)")), b"sound")


def test_neither_is_what_the_machine_has_no_more_of(helpers: Helpers, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise OSError("Too many open files")

    monkeypatch.setattr(socket, "socketpair", none)
    with pytest.raises(Transient, match="Too many open files"):
        check(helpers, b"sound")
    monkeypatch.undo()
    check(helpers, b"sound")


def test_no_more_helpers_run_than_there_may_be(helpers: Helpers) -> None:
    with ThreadPoolExecutor(8) as threads:
        pids = set(threads.map(lambda _: said(helpers)[0], range(40)))
    assert len(pids) <= 2
    helpers.close()
    assert not any(runs(pid) for pid in pids)


def test_memory_is_taken_when_a_helper_is_free_and_given_back_whatever_comes(helpers: Helpers) -> None:
    room = Room(100)
    for body in (b"sound", b"say", b"crash", b"spin"):
        with suppress(Undecodable):
            helpers.decode_whole(body, 100 * MIB, room.take(100))
    with room.take(100):
        pass


# --- what is decoded there --------------------------------------------------------------------------------------------


def encoded(kind: str, image: Image.Image | None = None, **options: object) -> bytes:
    body = io.BytesIO()
    (image or Image.effect_noise((640, 480), 60).convert("RGB")).save(body, kind, **options)
    return body.getvalue()


FLAT = Image.new("RGB", (4000, 3000), "white")


def with_scans(times: int) -> bytes:
    body = encoded("JPEG", Image.new("L", (2000, 1500), 128), progressive=True, quality=50)
    scan = body[body.rindex(b"\xff\xc4") : -2]
    return body[:-2] + scan * times + b"\xff\xd9"


SUSPICIOUS = {
    "HEIC": encoded("HEIF"),
    "AVIF": encoded("AVIF"),
    "flat WebP": encoded("WEBP", FLAT, lossless=True, method=0),
    "flat PNG": encoded("PNG", FLAT),
    "JPEG of many scans": with_scans(60),
}
ORDINARY = {
    "JPEG": encoded("JPEG"),
    "progressive JPEG": encoded("JPEG", Image.effect_noise((3000, 2000), 60), progressive=True),
    "CMYK": encoded("JPEG", Image.effect_noise((640, 480), 60).convert("CMYK")),
    "PNG": encoded("PNG"),
    "WebP": encoded("WEBP"),
    "small and flat": encoded("PNG", Image.new("RGB", (1500, 1500), "white")),
}


@pytest.mark.parametrize("kind", SUSPICIOUS)
def test_what_is_suspicious_is_decoded_apart_and_looks_the_same(kind: str) -> None:
    body = SUSPICIOUS[kind]
    assert opened(body).is_suspicious
    for at_least in (None, 224):
        pixels = decode(body, at_least)
        assert (pixels == decode_here(body, opened(body).image, at_least)).all()
        assert pixels.flags.c_contiguous and pixels.flags.writeable
    decode_whole(body, opened(body).image)
    assert (clean(body).width, clean(body).height) == opened(body).image.size


@pytest.mark.parametrize("kind", ORDINARY)
def test_ordinary_photos_need_no_helper(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    none = Helpers(count=0)  # whoever asked it would wait for ever
    monkeypatch.setattr(imaging, "HELPERS", none)
    monkeypatch.setattr(in_pixels, "HELPERS", none)
    clean(ORDINARY[kind])
    decode(ORDINARY[kind], 224)


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_a_decoder_that_crashes_costs_gateway_and_worker_one_photo(
    kind: str, helpers: Helpers, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashing = Helpers(program=("-c", OBEDIENT.replace("match body.split():", "match [b'crash']:")))
    monkeypatch.setattr(imaging, "HELPERS", crashing)
    monkeypatch.setattr(in_pixels, "HELPERS", crashing)
    body = encoded(kind)
    with pytest.raises(BadPhoto) as bad:
        clean(body)
    assert bad.value.code == "damaged-photo" and "crashed" in bad.value.message
    with pytest.raises(Poison) as poison:
        decode(body)
    assert poison.value.code == "unreadable" and "crashed" in poison.value.message
    crashing.close()
