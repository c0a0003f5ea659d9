"""What one caller may take up, and that all of it is free again."""

from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from services.gateway.claims import parse_claims
from services.gateway.form import File, Form
from services.gateway.problems import Problem
from services.gateway.quotas import PhotoRate, Uploads, photos_of
from services.gateway.settings import GatewaySettings

# One largest body has 1,000 + 1,000 + 64 KiB.
SETTINGS = GatewaySettings(
    max_photos=1,
    max_photo_bytes=1000,
    max_listing_bytes=1000,
    upload_memory_bytes=1_000_000,
    caller_memory_share=0.5,
    caller_uploads=3,
)


def refused(code: str) -> "pytest.RaisesExc[Problem]":
    return pytest.raises(Problem, check=lambda why: why.code == code)


# --- uploads under way ------------------------------------------------------------------------------------------------


def test_one_caller_may_hold_its_share_and_another_what_is_left() -> None:
    uploads = Uploads(SETTINGS)
    with uploads.begun("greedy") as first, uploads.begun("greedy") as second, uploads.begun("other") as other:
        first.take(300_000)
        second.take(200_000)
        with refused("too-many-uploads"):
            second.take(1)
        other.take(500_000)
        with refused("busy"):
            other.take(1)


def test_what_was_taken_is_free_again_however_it_ends() -> None:
    uploads = Uploads(SETTINGS)
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), uploads.begun("someone") as lease:
            lease.take(500_000)
            raise ZeroDivisionError


def test_what_is_given_back_at_once_is_not_given_back_twice() -> None:
    uploads = Uploads(SETTINGS)
    with uploads.begun("someone") as lease, uploads.begun("someone") as another:
        lease.take(500_000)
        lease.give_back()
        another.take(500_000)
    with uploads.begun("someone") as lease, refused("too-many-uploads"):
        lease.take(500_001)


def test_a_caller_may_always_send_one_largest_body() -> None:
    small = SETTINGS.model_copy(update={"upload_memory_bytes": 100_000})
    assert small.caller_memory_bytes == small.max_body_bytes
    with Uploads(small).begun("someone") as lease:
        lease.take(small.max_body_bytes)


def test_one_caller_has_so_many_uploads_at_once_and_no_more() -> None:
    uploads = Uploads(SETTINGS)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(uploads.begun("busy bee"))
        with refused("too-many-uploads"):
            stack.enter_context(uploads.begun("busy bee"))
        stack.enter_context(uploads.begun("other"))
    with uploads.begun("busy bee"):
        pass


# --- photos a minute --------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def passes(rate: PhotoRate, subject: str, photos: Sequence[int]) -> int:
    """How many uploads of so many photos each are taken."""
    taken = 0
    for count in photos:
        try:
            rate.check(subject)
        except Problem:
            return taken
        rate.spend(subject, count)
        taken += 1
    return taken


def test_a_minutes_worth_may_come_at_once_and_then_as_many_as_the_rate_allows() -> None:
    clock = Clock()
    rate = PhotoRate(120, clock)
    assert passes(rate, "import", [12] * 1000) == 10
    clock.seconds = 6.0
    assert passes(rate, "import", [12] * 1000) == 1
    clock.seconds = 600.0
    assert passes(rate, "import", [12] * 1000) == 10, "no more than a minute's worth is saved up"


def test_what_one_caller_owes_no_other_pays() -> None:
    rate = PhotoRate(120, Clock())
    passes(rate, "flood", [12] * 1000)
    assert passes(rate, "other", [12] * 1000) == 10


def test_who_owes_is_told_when_to_come_back_and_then_may() -> None:
    clock = Clock()
    rate = PhotoRate(60, clock)
    rate.check("someone")
    rate.spend("someone", 90)
    with refused("too-many-photos-per-minute") as caught:
        rate.check("someone")
    assert (caught.value.type.status, caught.value.retry_after_seconds) == (429, 31)
    clock.seconds = 30.5
    with refused("too-many-photos-per-minute"):
        rate.check("someone")
    clock.seconds = float(caught.value.retry_after_seconds)
    rate.check("someone")


def test_a_rate_of_none_limits_nothing() -> None:
    assert passes(PhotoRate(0, Clock()), "someone", [12] * 10_000) == 10_000


def test_of_a_flood_of_addresses_nothing_is_kept() -> None:
    clock = Clock()
    rate = PhotoRate(60, clock)
    for at in range(10_000):
        clock.seconds = float(at)
        rate.spend(f"address {at}", 1)
    assert len(rate._left) <= 3


def test_the_default_lets_an_import_through_and_no_flood() -> None:
    clock = Clock()
    rate = PhotoRate(GatewaySettings().caller_photos_per_minute, clock)
    for second in range(600):  # 500 photos a second for ten minutes
        clock.seconds = float(second)
        assert passes(rate, "import", [5] * 100) == 100
    flood = 0
    for second in range(600):  # 500 requests a second, each naming 12 photos
        clock.seconds = float(second)
        flood += passes(rate, "flood", [12] * 500)
    assert flood < 600 * 500 / 5


def test_photos_count_whether_sent_or_named() -> None:
    known = f'{{"sha256": "{"ab" * 32}"}}'
    claims = parse_claims(f'{{"seller_id": "s", "title": "t", "photos": [{known}, {{"upload": 0}}, {known}]}}'.encode())
    assert photos_of(Form(b"", (File(b"a", None, 0), File(b"b", None, 1))), claims) == 4
    assert photos_of(Form(b"", (File(b"a", None, 0),)), parse_claims(b'{"seller_id": "s", "title": "t"}')) == 1
