"""Uploading to a fake gateway that keeps the real one's promises over real HTTP."""

import asyncio
import hashlib
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client.gateway import Retries
from client.listing import Effect, Imported, ListingUpload
from client.state import Done, State, state_path
from client.uploading import import_listings
from tests.fake_gateway import FakeGateway, serving

AT_ONCE = Retries(attempts=4, first_wait=0.001, longest_wait=0.002)


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with serving() as fake:
        yield fake


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nothing listens: the port is bound, so that nobody else gets it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def upload(reference: str, **changes: Any) -> ListingUpload:
    fields: dict[str, Any] = {"seller_id": "s1", "title": reference, "photos": (b"photo of " + reference.encode(),)}
    return ListingUpload(reference, **{**fields, **changes})


# --- uploading --------------------------------------------------------------------------------------------------------


async def test_what_is_uploaded_comes_back_in_order_with_ids_and_hashes(gateway: FakeGateway) -> None:
    seen: list[Imported] = []
    ended = await import_listings((upload(f"r{n}") for n in range(20)), gateway.url, seen.append)
    assert [one.reference for one in ended] == [f"r{n}" for n in range(20)]
    assert sorted(one.reference for one in seen) == sorted(f"r{n}" for n in range(20))
    assert {one.effect for one in ended} == {Effect.IMPORTED}
    assert ended[3].photos == (hashlib.sha256(b"photo of r3").hexdigest(),)
    assert set(gateway.listings) == {one.listing_id for one in ended}


async def test_claims_arrive_as_written_and_absent_ones_stay_absent(gateway: FakeGateway) -> None:
    full = upload("full", category="garments", brand="Bao", price="19.90", currency="EUR")
    ended = await import_listings([full, upload("bare")], gateway.url)
    assert gateway.listings[ended[0].listing_id or ""]["listing"] == {
        "seller_id": "s1",
        "title": "full",
        "category": "garments",
        "brand": "Bao",
        "price": {"amount": "19.90", "currency": "EUR"},
    }
    assert gateway.listings[ended[1].listing_id or ""]["listing"] == {"seller_id": "s1", "title": "bare"}


async def test_an_async_source_is_drawn_from_too(gateway: FakeGateway) -> None:
    async def rendered() -> Any:
        for n in range(3):
            yield upload(f"r{n}")

    ended = await import_listings(rendered(), gateway.url)
    assert [one.reference for one in ended] == ["r0", "r1", "r2"]


async def test_no_more_than_the_bound_is_in_flight(gateway: FakeGateway) -> None:
    await import_listings([upload(f"r{n}") for n in range(30)], gateway.url, concurrency=3)
    assert 1 <= gateway.most_at_once <= 3


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_again_later_is_tried_again(gateway: FakeGateway, status: int) -> None:
    gateway.failures = [status, status]
    (one,) = await import_listings([upload("r")], gateway.url, retries=AT_ONCE)
    assert one.effect == Effect.IMPORTED
    assert gateway.uploads == 3


async def test_a_gateway_that_asks_for_less_is_waited_for_as_long_as_it_says_and_costs_no_attempt(
    gateway: FakeGateway,
) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    gateway.failures, gateway.retry_after = [429] * 30 + [503], 7
    (one,) = await import_listings([upload("r")], gateway.url, retries=replace(AT_ONCE, sleep=sleep))
    assert one.effect == Effect.IMPORTED
    assert waited[:30] == [7.0] * 30
    assert waited[30] <= AT_ONCE.longest_wait, "what is away is asked again as before"


async def test_a_gateway_that_asks_for_less_for_ever_is_given_up(gateway: FakeGateway) -> None:
    gateway.failures, gateway.retry_after = [429] * 4, 200
    slept = asyncio.sleep
    ended = await import_listings(
        [upload("r"), upload("s")],
        gateway.url,
        concurrency=1,
        retries=replace(AT_ONCE, sleep=lambda _: slept(0)),
    )
    assert "asks for less, again and again: Broker away (HTTP 429)" in (ended[0].error or "")
    assert (ended[1].error or "").startswith("not tried: ")
    assert gateway.uploads == 4


async def test_a_refusal_fails_that_listing_only_and_says_what_the_gateway_said(gateway: FakeGateway) -> None:
    gateway.refuses = {"bad"}
    ended = await import_listings([upload("good"), upload("bad"), upload("fine")], gateway.url, retries=AT_ONCE)
    assert [one.effect for one in ended] == [Effect.IMPORTED, Effect.FAILED, Effect.IMPORTED]
    assert ended[1].error == "photo: Not a photo: photo 1 is empty; send a JPEG (HTTP 422)"
    assert gateway.uploads == 3


async def test_a_photo_that_is_gone_fails_its_listing_only(gateway: FakeGateway, tmp_path: Path) -> None:
    ended = await import_listings([upload("gone", photos=(tmp_path / "gone.jpg",)), upload("good")], gateway.url)
    assert "gone.jpg" in (ended[0].error or "")
    assert ended[1].effect == Effect.IMPORTED


async def test_a_gateway_that_stays_away_ends_the_rest_without_trying_each(nobody: str) -> None:
    ended = await import_listings([upload(f"r{n}") for n in range(50)], nobody, concurrency=2, retries=AT_ONCE)
    assert all(one.effect == Effect.FAILED for one in ended)
    assert f"no gateway answers at {nobody}" in (ended[0].error or "")
    assert (ended[-1].error or "").startswith("not tried: ")


# --- resuming ---------------------------------------------------------------------------------------------------------


async def test_a_second_run_uploads_only_what_the_first_did_not(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.refuses = {"r1"}
    everything = [upload(f"r{n}") for n in range(3)]
    first = State.open(tmp_path / "state.jsonl")
    await import_listings(everything, gateway.url, state=first)
    first.close()
    gateway.refuses = set()
    gateway.uploads = 0
    ended = await import_listings(everything, gateway.url, state=State.open(tmp_path / "state.jsonl"))
    assert [one.effect for one in ended] == [Effect.UNCHANGED, Effect.IMPORTED, Effect.UNCHANGED]
    assert ended[0].listing_id and ended[0].photos
    assert gateway.uploads == 1


async def test_a_changed_listing_becomes_a_new_revision_of_the_same_one(gateway: FakeGateway) -> None:
    state = State()
    (first,) = await import_listings([upload("r", title="old")], gateway.url, state=state)
    (second,) = await import_listings([upload("r", title="new")], gateway.url, state=state)
    assert second.effect == Effect.UPDATED
    assert second.listing_id == first.listing_id
    assert (second.revision or 0) > (first.revision or 0)
    assert len(gateway.listings) == 1


def priced(price: str, reference: str = "r", **changes: Any) -> ListingUpload:
    return upload(reference, price=price, currency="EUR", **changes)


async def imported(gateway: FakeGateway, one: ListingUpload, state: State | None = None) -> Imported:
    (ended,) = await import_listings([one], gateway.url, state=state, retries=AT_ONCE)
    return ended


@pytest.mark.parametrize("has_state", [True, False])
async def test_going_back_to_earlier_claims_is_applied_too(gateway: FakeGateway, has_state: bool) -> None:
    state = State() if has_state else None
    effects = []
    for price in ("19.99", "9.99", "14.99", "19.99", "19.99"):
        one = await imported(gateway, priced(price), state)
        assert gateway.price(one.listing_id) == price
        effects.append(one.effect)
    assert effects == [Effect.IMPORTED, *[Effect.UPDATED] * 3, Effect.UNCHANGED]
    assert len(gateway.listings) == 1


async def test_what_another_machine_stated_since_is_not_called_unchanged(gateway: FakeGateway) -> None:
    here, there = State(), State()
    await imported(gateway, priced("19.99"), here)
    assert (await imported(gateway, priced("14.99"), there)).effect == Effect.UPDATED
    again = await imported(gateway, priced("19.99"), here)
    assert (again.effect, gateway.price(again.listing_id)) == (Effect.UPDATED, "19.99")
    assert (await imported(gateway, priced("19.99"), here)).effect == Effect.UNCHANGED


async def test_the_order_of_photos_is_news(gateway: FakeGateway) -> None:
    await imported(gateway, upload("r", photos=(b"front", b"back")), state := State())
    turned = await imported(gateway, upload("r", photos=(b"back", b"front")), state)
    assert turned.effect == Effect.UPDATED
    assert turned.photos[0] == hashlib.sha256(b"back").hexdigest()


async def test_a_photo_that_only_moved_is_not_uploaded_again(gateway: FakeGateway, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"front")
    await imported(gateway, upload("r", photos=(tmp_path / "a.jpg",)), state := State())
    (tmp_path / "a.jpg").rename(tmp_path / "b.jpg")
    assert (await imported(gateway, upload("r", photos=(tmp_path / "b.jpg",)), state)).effect == Effect.UNCHANGED
    (tmp_path / "b.jpg").write_bytes(b"other")
    assert (await imported(gateway, upload("r", photos=(tmp_path / "b.jpg",)), state)).effect == Effect.UPDATED
    assert gateway.uploads == 2


async def test_a_listing_that_was_taken_down_fails_by_that_reason_and_never_counts_as_done(
    gateway: FakeGateway,
) -> None:
    first = await imported(gateway, upload("r"), state := State())
    gateway.removed.add(first.listing_id or "")
    for changes in ({}, {"title": "other"}):
        again = await imported(gateway, upload("r", **changes), state)
        assert again.effect == Effect.FAILED
        assert "was taken down" in (again.error or "") and "another reference" in (again.error or "")


async def test_a_gateway_that_lost_its_listings_is_given_them_again(gateway: FakeGateway) -> None:
    await imported(gateway, upload("r"), state := State())
    gateway.listings.clear()
    assert (await imported(gateway, upload("r"), state)).effect == Effect.IMPORTED
    assert len(gateway.listings) == 1


async def test_what_is_not_joined_yet_is_unchanged_by_the_state_alone(gateway: FakeGateway) -> None:
    await imported(gateway, upload("r"), state := State())
    gateway.joined = False
    assert (await imported(gateway, upload("r"), state)).effect == Effect.UNCHANGED
    assert (await imported(gateway, upload("r", title="t"), state)).effect == Effect.UPDATED


async def test_lookups_that_are_away_hold_nothing_up(gateway: FakeGateway) -> None:
    gateway.lookups_away = True
    assert (await imported(gateway, upload("r"), state := State())).effect == Effect.IMPORTED
    assert (await imported(gateway, upload("r"), state)).effect == Effect.UNCHANGED
    assert (await imported(gateway, upload("r", title="t"), state)).effect == Effect.UPDATED


async def test_claims_are_compared_as_amounts_and_without_margins(gateway: FakeGateway) -> None:
    await imported(gateway, priced("19.90", title=" Tee ", brand="Bao"))
    assert (await imported(gateway, priced("19.9", title="Tee", brand="Bao"))).effect == Effect.UNCHANGED
    assert (await imported(gateway, priced("19.9", title="Tee"))).effect == Effect.UPDATED


async def test_a_state_file_torn_by_a_crash_costs_one_line(gateway: FakeGateway, tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    state = State.open(path)
    await import_listings([upload("a"), upload("b")], gateway.url, state=state, concurrency=1)
    state.close()
    path.write_text(path.read_text()[:-20])
    resumed = State.open(path)
    ended = await import_listings([upload("a"), upload("b"), upload("c")], gateway.url, state=resumed, concurrency=1)
    resumed.close()
    # b is uploaded again, and found to be there as it is.
    assert [one.effect for one in ended] == [Effect.UNCHANGED, Effect.UNCHANGED, Effect.IMPORTED]
    assert gateway.uploads == 4
    assert {one.reference for one in State.open(path).done.values()} == {"a", "b", "c"}


def test_a_listing_is_known_by_its_seller_and_reference_alone() -> None:
    assert upload("r").key == upload("r", title="another title", photos=(b"other",)).key
    assert upload("r").key != upload("r", seller_id="s2").key
    # As it was from the first: another key would make every listing that was ever imported another one.
    assert upload("r").key == "65ec932ff8306942bd81507208ad8a94"


async def test_what_a_listing_is_called_is_asked_once(gateway: FakeGateway) -> None:
    first = await imported(gateway, upload("r"), state := State())
    again = await imported(gateway, upload("r", title="other"), state)
    assert (again.effect, again.listing_id, gateway.ids_asked) == (Effect.UPDATED, first.listing_id, 1)
    assert (await imported(gateway, upload("r"))).listing_id == first.listing_id


async def test_an_id_of_an_earlier_import_stays_the_listings(gateway: FakeGateway) -> None:
    state = State()
    state.note(Done("s1", "r", "digest of that time", "named-otherwise-then", 7, ()))
    assert (await imported(gateway, upload("r"), state)).listing_id == "named-otherwise-then"


async def test_a_seller_that_the_gateway_refuses_fails_its_listings_only(gateway: FakeGateway) -> None:
    gateway.refused_sellers = {"s\u200b1"}
    everything = [upload("good"), upload("bad", seller_id="s\u200b1")]
    good, bad = await import_listings(everything, gateway.url, retries=AT_ONCE)
    assert (good.effect, bad.effect) == (Effect.IMPORTED, Effect.FAILED)
    assert "U+200B" in (bad.error or "")


async def test_a_title_of_several_lines_is_the_one_that_the_gateway_holds(gateway: FakeGateway) -> None:
    first = await imported(gateway, upload("r", title="red\n shirt"))
    assert first.listing_id is not None
    gateway.listings[first.listing_id]["listing"]["title"] = "red  shirt"
    assert (await imported(gateway, upload("r", title="red\n shirt"))).effect == Effect.UNCHANGED


def test_the_state_of_a_gateway_is_the_same_whatever_is_imported(tmp_path: Path) -> None:
    assert state_path(tmp_path, "http://g:1") == state_path(tmp_path, "http://g:1/")
    assert state_path(tmp_path, "http://g:1") != state_path(tmp_path, "http://g:2")
