"""One suite for the hash bank in memory and the one in a real Redis."""

import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from services.fraud.bank import (
    BLOCKED_DISTANCE,
    CROWD,
    HASHES,
    KEPT_SECONDS,
    KEPT_SELLERS,
    LOOKED_AT,
    MATCHES_KEPT,
    PLACE_HOLDS,
    PREFIX,
    SCORED_AGAIN,
    STOCK_SELLERS,
    Bank,
    BankedPhoto,
    Marked,
    RedisBank,
    Revision,
    open_bank,
)
from services.fraud.pdq import BITS, MATCH_DISTANCE, TEXT_MATCH_DISTANCE, Fingerprint, fingerprint
from shared.durability import Stamp
from shared.errors import Replaced, Transient, Unusable
from tests.contract.fraud.conftest import forget_everything
from tests.fakes_vision import scenery

SCENE = fingerprint(scenery(1))
MIRRORED = fingerprint(np.ascontiguousarray(scenery(1)[:, ::-1]))


def photo(
    listing: str,
    seller: str,
    at_us: int,
    sha: str = "",
    revision: int = 1,
    generation: int = 1,
    assessed_us: int = 0,
) -> BankedPhoto:
    return BankedPhoto(listing, sha or f"sha-{listing}", seller, revision, generation, at_us, assessed_us)


def found(marked: Marked) -> tuple[str, list[str]]:
    return marked.listing_id, [match.listing_id for match in marked.matches]


def meet(bank: Bank, one: BankedPhoto, hashed: Fingerprint = SCENE, scored: bytes = b"") -> Sequence[Marked]:
    marked = bank.meet(one, hashed, scored or one.name.encode())
    assert marked is not None
    return marked


def met(bank: Bank, one: BankedPhoto, hashed: Fingerprint = SCENE, scored: bytes = b"") -> list[tuple[str, list[str]]]:
    return [found(marked) for marked in meet(bank, one, hashed, scored)]


def refused(bank: Bank, one: BankedPhoto, hashed: Fingerprint = SCENE) -> bool:
    return bank.meet(one, hashed, b"") is None


def keep_only(bank: Bank, listing: str, revision: int, *photos: str, seller: str = "S1", change: bytes = b"") -> None:
    bank.keep_only(Revision(listing, seller, revision, photos, change))


def changed(hashed: Fingerprint, bits: int, seed: int = 0) -> Fingerprint:
    """The same hash with so many of its bits turned over, spread by chance; without variants."""
    flipped = np.random.default_rng(seed).choice(BITS, bits, replace=False)
    return Fingerprint((f"{int(hashed.hex, 16) ^ sum(1 << int(bit) for bit in flipped):064x}",), 100)


REVIEWED = changed(SCENE, BLOCKED_DISTANCE + 5)
NEARBY = changed(SCENE, 6)


def test_a_copy_finds_the_original_that_came_before(bank: Bank) -> None:
    assert met(bank, photo("original", "S1", 10)) == []
    assert met(bank, photo("copy", "S2", 20)) == [("copy", ["original"])]


def test_an_original_that_arrives_second_finds_the_later_copy_and_what_was_said_of_it(bank: Bank) -> None:
    met(bank, photo("copy", "S2", 20), scored=b"what was said")
    (marked,) = meet(bank, photo("original", "S1", 10), SCENE, b"")
    assert found(marked) == ("copy", ["original"])
    assert (marked.scored, marked.seller_id, marked.sha256) == (b"what was said", "S2", "sha-copy")


@pytest.mark.parametrize("bits", [0, 1, 15, 16, 31])
def test_every_distance_up_to_the_limit_is_found_and_named(bank: Bank, bits: int) -> None:
    bank.meet(photo("original", "S1", 10), Fingerprint((SCENE.hex,), 100), b"")
    for seed in range(5):
        (marked,) = meet(bank, photo(f"copy-{seed}", f"S-{seed}", 20 + seed), changed(SCENE, bits, seed), b"")[:1]
        (original,) = [match for match in marked.matches if match.listing_id == "original"]
        assert original.distance == bits


def test_beyond_the_limit_nothing_matches(bank: Bank) -> None:
    bank.meet(photo("one", "S1", 10), Fingerprint((SCENE.hex,), 100), b"")
    assert bank.meet(photo("other", "S2", 20), changed(SCENE, MATCH_DISTANCE + 1), b"") == []


@pytest.mark.parametrize("mirrored_first", [True, False])
def test_a_mirrored_copy_matches_whichever_came_first(bank: Bank, mirrored_first: bool) -> None:
    mirrored = fingerprint(np.ascontiguousarray(scenery(1)[:, ::-1]))
    met(bank, photo("original", "S1", 10), mirrored if mirrored_first else SCENE)
    assert met(bank, photo("copy", "S2", 20), SCENE if mirrored_first else mirrored) == [("copy", ["original"])]


def test_all_earlier_look_alikes_that_are_not_blocked_are_named_the_original_first(bank: Bank) -> None:
    met(bank, photo("second", "S2", 20), REVIEWED)
    met(bank, photo("first", "S1", 10))
    assert met(bank, photo("third", "S3", 30)) == [("third", ["first", "second"])]


def test_what_a_photo_found_itself_is_still_known_when_a_yet_earlier_one_arrives(bank: Bank) -> None:
    met(bank, photo("second", "S2", 20), REVIEWED)
    met(bank, photo("third", "S3", 30))
    assert sorted(met(bank, photo("first", "S1", 10))) == [("second", ["first"]), ("third", ["first", "second"])]


def test_of_equal_times_one_is_the_original_whoever_arrives_first(bank: Bank) -> None:
    met(bank, photo("b", "S2", 10))
    assert met(bank, photo("a", "S1", 10)) == [("b", ["a"])]
    assert met(bank, photo("b", "S2", 10)) == [("b", ["a"])]


def test_a_listings_own_photos_and_redeliveries_never_match(bank: Bank) -> None:
    met(bank, photo("one", "S1", 10, sha="x"))
    assert met(bank, photo("one", "S1", 20, sha="y")) == []
    assert met(bank, photo("one", "S1", 10, sha="x")) == []


def test_a_redelivered_original_finds_its_copies_again(bank: Bank) -> None:
    met(bank, photo("original", "S1", 10))
    met(bank, photo("copy", "S2", 20))
    for _ in range(2):
        assert met(bank, photo("original", "S1", 10)) == [("copy", ["original"])]


def test_the_first_upload_counts_when_a_photo_comes_again_in_a_new_revision(bank: Bank) -> None:
    met(bank, photo("original", "S1", 10, revision=1))
    met(bank, photo("copy", "S2", 20))
    assert met(bank, photo("original", "S1", 30, revision=2)) == [("copy", ["original"])]


def test_a_removed_original_matches_nothing_any_more(bank: Bank) -> None:
    met(bank, photo("original", "S1", 10))
    bank.forget("original", "S1")
    assert met(bank, photo("copy", "S2", 20)) == []


def test_a_photo_that_arrives_after_its_listings_removal_is_not_kept(bank: Bank) -> None:
    bank.forget("original", "S1")
    assert refused(bank, photo("original", "S1", 10, revision=9))
    assert met(bank, photo("copy", "S2", 20)) == []


def test_a_removal_wins_over_a_later_revision(bank: Bank) -> None:
    bank.forget("original", "S1")
    keep_only(bank, "original", 99, "sha-original")
    assert refused(bank, photo("original", "S1", 10, revision=99))
    assert met(bank, photo("copy", "S2", 20)) == []


def test_a_photo_that_a_new_revision_drops_matches_nothing_any_more(bank: Bank) -> None:
    met(bank, photo("original", "S1", 10, sha="old", revision=1))
    keep_only(bank, "original", 2, "new")
    assert met(bank, photo("copy", "S2", 20)) == []
    assert refused(bank, photo("original", "S1", 10, sha="old", revision=1))
    assert met(bank, photo("other", "S3", 30)) == [("other", ["copy"])]


def test_a_photo_that_stays_in_a_new_revision_still_matches(bank: Bank) -> None:
    met(bank, photo("original", "S1", 10, sha="kept", revision=1))
    keep_only(bank, "original", 2, "kept", "new")
    assert met(bank, photo("copy", "S2", 20)) == [("copy", ["original"])]


def test_an_old_revision_heard_of_late_drops_nothing(bank: Bank) -> None:
    met(bank, photo("original", "S1", 10, sha="new", revision=2))
    keep_only(bank, "original", 1, "old")
    keep_only(bank, "original", 2, "new")
    keep_only(bank, "original", 1, "old")
    assert met(bank, photo("copy", "S2", 20)) == [("copy", ["original"])]


def test_a_removed_original_no_longer_counts_against_a_copy_that_is_scored_again(bank: Bank) -> None:
    met(bank, photo("original", "S1", 10))
    (before,) = meet(bank, photo("copy", "S2", 20))
    bank.forget("original", "S1")
    (after,) = meet(bank, photo("copy", "S2", 20))
    assert (found(after), after.blocked) == (("copy", []), False)
    assert after.at_us > before.at_us
    assert met(bank, photo("between", "S3", 15)) == [("copy", ["between"])]


def test_a_newer_pack_replaces_what_was_said_and_an_older_one_does_not(bank: Bank) -> None:
    met(bank, photo("copy", "S2", 20, generation=2), scored=b"by the newer")
    met(bank, photo("copy", "S2", 20, generation=1), scored=b"by the older")
    (marked,) = meet(bank, photo("original", "S1", 10), SCENE, b"")
    assert marked.scored == b"by the newer"
    met(bank, photo("copy", "S2", 20, generation=3), scored=b"by the newest")
    (marked,) = meet(bank, photo("original", "S1", 10), SCENE, b"")
    assert marked.scored == b"by the newest"


def test_a_photo_whose_hash_changed_is_found_by_the_new_one_only(bank: Bank) -> None:
    other_scene = fingerprint(scenery(2))
    met(bank, photo("one", "S1", 10), SCENE)
    met(bank, photo("one", "S1", 10, revision=2), other_scene)
    assert met(bank, photo("two", "S2", 20), SCENE) == []
    assert met(bank, photo("three", "S3", 30), other_scene) == [("three", ["one"])]


def test_the_same_bytes_in_two_listings_are_two_photos(bank: Bank) -> None:
    met(bank, photo("original", "S1", 10, sha="same"))
    assert met(bank, photo("copy", "S2", 20, sha="same")) == [("copy", ["original"])]
    bank.forget("copy", "S2")
    assert met(bank, photo("third", "S3", 30, sha="same")) == [("third", ["original"])]


def test_each_later_answer_about_a_photo_has_a_later_time(bank: Bank) -> None:
    met(bank, photo("copy", "S9", 90))
    times = [meet(bank, photo(f"o{n}", f"S{n}", n), SCENE, b"")[-1].at_us for n in range(5, 0, -1)]
    assert times == sorted(times)
    assert len(set(times)) == len(times)


def test_each_later_answer_has_a_later_time_although_the_workers_clock_is_ahead(bank: Bank) -> None:
    ahead = 4_000_000_000_000_000
    met(bank, photo("copy", "S9", 90, assessed_us=ahead))
    times = [meet(bank, photo(f"o{n}", f"S{n}", n), SCENE, b"")[-1].at_us for n in range(5, 0, -1)]
    assert times == [ahead + n for n in range(1, 6)]
    (again,) = meet(bank, photo("copy", "S9", 90, assessed_us=ahead), SCENE, b"")
    assert again.at_us == ahead + 6


def test_of_many_earlier_look_alikes_the_earliest_of_other_sellers_are_kept(bank: Bank) -> None:
    for n in reversed(range(MATCHES_KEPT + 5)):
        met(bank, photo(f"L{n:02}", f"S{n}", n))
    earliest = [f"L{n:02}" for n in range(MATCHES_KEPT)]
    assert met(bank, photo("copy", "S", 1000)) == [("copy", earliest)]
    bank.forget("L00", "S0")
    assert met(bank, photo("copy", "S", 1000)) == [("copy", [*earliest[1:], f"L{MATCHES_KEPT:02}"])]


def test_of_a_sellers_own_earlier_photos_only_the_first_is_kept(bank: Bank) -> None:
    met(bank, photo("other", "stranger", 5), REVIEWED)
    for n in range(10):
        met(bank, photo(f"own-{n}", "owner", 10 + n))
    assert met(bank, photo("again", "owner", 30)) == [("again", ["other", "own-0"])]


def test_of_many_later_copies_the_earliest_are_told_of_an_original_that_arrives_last(bank: Bank) -> None:
    for n in range(SCORED_AGAIN + 6):
        bank.meet(photo(f"L{n:03}", f"S{n}", 100 + n), SCENE, b"")
    marked = meet(bank, photo("original", "S", 1), SCENE, b"")
    assert [one.listing_id for one in marked] == [f"L{n:03}" for n in range(SCORED_AGAIN)]
    assert {one.matches[0].listing_id for one in marked} == {"original"}


def test_a_photo_that_was_dropped_and_added_again_is_still_the_earlier_one(bank: Bank) -> None:
    met(bank, photo("first", "S1", 10, sha="x"))
    met(bank, photo("second", "S2", 20))
    keep_only(bank, "first", 2, "other")
    assert met(bank, photo("second", "S2", 20)) == [("second", [])]
    keep_only(bank, "first", 3, "x")
    assert met(bank, photo("first", "S1", 30, sha="x", revision=3)) == [("second", ["first"])]
    assert met(bank, photo("between", "S3", 15)) == [("between", ["first"]), ("second", ["first"])]


def test_an_earlier_time_of_upload_that_is_heard_of_late_changes_the_order(bank: Bank) -> None:
    met(bank, photo("one", "S1", 30, revision=2))
    assert met(bank, photo("two", "S2", 20)) == [("one", ["two"])]
    assert met(bank, photo("one", "S1", 10, revision=1)) == [("one", []), ("two", ["one"])]
    assert met(bank, photo("three", "S3", 15)) == [("three", ["one"]), ("two", ["one"])]


def test_one_picture_in_many_listings_costs_each_of_them_the_same(redis_url: str) -> None:
    forget_everything(redis_url)
    bank = open_bank(redis_url)
    for n in range(200):
        bank.meet(photo(f"L{n}", f"S{n % 50}", n), SCENE, b"")
    with redis.Redis.from_url(redis_url) as client:
        kept = [client.hlen(key) for key in client.scan_iter(match=f"{PREFIX}matches:*", count=1000)]
    bank.close()
    forget_everything(redis_url)
    assert max(kept) == MATCHES_KEPT + 1


def test_of_copies_that_arrive_at_once_every_later_one_ends_up_with_the_original(bank: Bank) -> None:
    for round_ in range(10):
        scene = fingerprint(scenery(100 + round_))
        photos = [photo(f"{round_}-{n}", f"S{n}", n) for n in range(4)]
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(lambda one, scene=scene: meet(bank, one, scene, b"x"), photos))
        latest = {
            marked.listing_id: marked
            for marked in sorted((marked for answer in answers for marked in answer), key=lambda marked: marked.at_us)
        }
        originals = {listing: marked.matches[0].listing_id for listing, marked in latest.items()}
        assert originals == {f"{round_}-{n}": f"{round_}-0" for n in (1, 2, 3)}
        assert all(latest[f"{round_}-{n}"].blocked or latest[f"{round_}-{n}"].stock for n in (1, 2, 3))


def test_forgetting_everything_leaves_no_hash_behind(redis_url: str) -> None:
    forget_everything(redis_url)
    bank = open_bank(redis_url)
    for n in range(3):
        bank.meet(photo(f"L{n}", f"S{n}", n), SCENE, b"")
    for n in range(3):
        bank.forget(f"L{n}", f"S{n}")
    with redis.Redis.from_url(redis_url) as client:
        left = {key.decode() for key in client.scan_iter(match=f"{PREFIX}*")}
        client.delete(*left)
    # The tombstones, and that L0's seller was the first: the others were copies.
    assert left == {*(f"{PREFIX}listing:L{n}" for n in range(3)), f"{PREFIX}first:{SCENE.hex}"}
    bank.close()


def test_flushed_returns_and_so_does_ping(bank: Bank) -> None:
    met(bank, photo("one", "S1", 10))
    bank.flushed()
    bank.ping()


def test_a_redis_without_an_append_only_file_is_refused_unless_that_is_accepted(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("appendonly", "no")
        try:
            with pytest.raises(Unusable, match="VITRINE_WAIT_FOR_DISK"):
                open_bank(redis_url).flushed()
            open_bank(redis_url, wait_for_disk=False).flushed()
        finally:
            client.config_set("appendonly", "yes")


def test_a_look_up_whose_connection_is_cut_is_tried_again(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_everything(redis_url)
    bank = open_bank(redis_url)
    met(bank, photo("original", "S1", 10))
    send = redis.Connection.send_packed_command
    cut: list[redis.Connection] = []
    sending: Any = send

    def sent_then_cut(self: redis.Connection, command: Sequence[bytes], check_health: bool = True) -> None:
        sending(self, command, check_health)
        if b"HMGET" in command[0][:30] and not cut:
            cut.append(self)
            assert self._sock is not None
            self._sock.shutdown(socket.SHUT_RDWR)

    monkeypatch.setattr(redis.Connection, "send_packed_command", sent_then_cut)
    (copy,) = meet(bank, photo("copy", "S2", 20), SCENE, b"")
    bank.close()
    assert cut
    assert [match.listing_id for match in copy.matches] == ["original"]


def test_a_bank_that_is_away_is_transient() -> None:
    away = RedisBank(redis.Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 1)))
    calls: tuple[Callable[[], object], ...] = (
        lambda: away.meet(photo("L", "S", 1), SCENE, b""),
        lambda: keep_only(away, "L", 1),
        lambda: away.forget("L", "S"),
        away.begin_rebuild,
        away.withheld,
        away.end_rebuild,
        lambda: away.settled([("L", "x")]),
        away.ping,
        away.flushed,
    )
    for call in calls:
        with pytest.raises(Transient, match="hash bank"):
            call()


def test_a_copy_is_found_by_its_trimmed_hash_whichever_came_first(bank: Bank) -> None:
    framed = fingerprint(np.pad(scenery(1), ((60, 60), (0, 0), (0, 0)), constant_values=255))
    barred = fingerprint(np.pad(scenery(1), ((0, 0), (90, 90), (0, 0))))
    assert framed.trimmed
    met(bank, photo("framed", "S1", 20), framed)
    assert met(bank, photo("barred", "S2", 30), barred) == [("barred", ["framed"])]
    assert met(bank, photo("plain", "S3", 10), SCENE) == [("framed", ["plain"]), ("barred", ["plain"])]
    bank.forget("framed", "S1")
    assert met(bank, photo("again", "S4", 40), barred)[0] == ("again", ["plain"])


def test_a_photo_with_two_hashes_is_at_the_distance_of_the_nearer(bank: Bank) -> None:
    """The farther one would be found too."""
    two = Fingerprint((changed(SCENE, 30).hex,), 100, trimmed=(SCENE.hex,))
    met(bank, photo("two", "S1", 10), two)
    (marked,) = meet(bank, photo("copy", "S2", 20), SCENE, b"")
    assert [match.distance for match in marked.matches] == [0]


def test_a_picture_of_text_is_known_as_one_whoever_asks(bank: Bank) -> None:
    text = Fingerprint(SCENE.variants, 100, of_text=True)
    met(bank, photo("copy", "S2", 20), text)
    (later,) = meet(bank, photo("original", "S1", 10), text, b"")
    (again,) = meet(bank, photo("copy", "S2", 20), text, b"")
    assert (later.of_text, again.of_text) == (True, True)
    met(bank, photo("other", "S3", 15), changed(SCENE, TEXT_MATCH_DISTANCE + 1))
    beyond = Fingerprint(changed(SCENE, TEXT_MATCH_DISTANCE + 1, seed=3).variants, 100, of_text=True)
    assert all("beyond" not in listing for listing, _ in met(bank, photo("beyond", "S4", 5), beyond))


def test_of_two_changes_of_one_revision_the_losers_photos_are_compared_and_count_for_nothing(bank: Bank) -> None:
    other = fingerprint(scenery(7))
    met(bank, photo("original", "S1", 10))
    keep_only(bank, "tied", 7, "stolen", seller="S2", change=b"b")
    keep_only(bank, "tied", 7, "own", seller="S2", change=b"a")
    assert met(bank, photo("tied", "S2", 20, sha="own", revision=7), other) == []
    assert met(bank, photo("stranger", "S3", 30), other) == []
    assert met(bank, photo("tied", "S2", 20, sha="stolen", revision=7)) == [("tied", ["original"])]
    keep_only(bank, "tied", 7, "own", seller="S2", change=b"c")
    assert met(bank, photo("stranger", "S3", 30), other) == [("stranger", ["tied"])]


def test_forgetting_a_photo_with_two_hashes_leaves_neither_behind(redis_url: str) -> None:
    forget_everything(redis_url)
    bank = open_bank(redis_url)
    framed = fingerprint(np.pad(scenery(1), ((60, 60), (0, 0), (0, 0)), constant_values=255))
    bank.meet(photo("L", "S", 1), framed, b"")
    bank.meet(photo("L", "S", 1, revision=2), SCENE, b"")
    bank.meet(photo("L", "S", 0, revision=1), framed, b"")
    bank.forget("L", "S")
    with redis.Redis.from_url(redis_url) as client:
        left = {key.decode() for key in client.scan_iter(match=f"{PREFIX}*")}
    assert left == {f"{PREFIX}listing:L", f"{PREFIX}first:{SCENE.hex}"}
    bank.close()
    forget_everything(redis_url)


def test_an_entry_of_before_there_were_trimmed_hashes_and_times_of_its_own_is_found_and_dropped(redis_url: str) -> None:
    forget_everything(redis_url)
    bank = open_bank(redis_url)
    met(bank, photo("old", "S1", 10))
    with redis.Redis.from_url(redis_url) as client:
        client.hdel(f"{PREFIX}photo:sha-old/old", "trimmed", "of_text", "shown", "blocked", "follows", "stock")
        client.delete(f"{PREFIX}listing:old")
    assert met(bank, photo("copy", "S2", 20)) == [("copy", ["old"])]
    assert met(bank, photo("old", "S1", 10)) == [("copy", ["old"])]
    bank.forget("old", "S1")
    assert met(bank, photo("copy", "S2", 20)) == [("copy", [])]
    assert met(bank, photo("new", "S1", 90)) == [("copy", ["new"])]
    bank.close()
    forget_everything(redis_url)


def test_a_key_of_another_type_is_a_bug_not_a_bank_that_is_away_and_no_photos_fault(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
        client.set(f"{PREFIX}listing:L", "not a hash")
        bank = open_bank(redis_url)
        calls: tuple[Callable[[], object], ...] = (
            lambda: keep_only(bank, "L", 1),
            lambda: bank.forget("L", "S"),
        )
        for call in calls:
            with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
                call()
        with pytest.raises(Unusable, match=r"the hash bank can't be used: .*WRONGTYPE"):
            bank.meet(photo("L", "S", 1), SCENE, b"")
        bank.close()
        client.flushdb()


def test_a_thousand_strangers_do_not_match(bank: Bank) -> None:
    random = np.random.default_rng(5)
    for n in range(1000):
        hashed = Fingerprint((random.bytes(32).hex(),), 100)
        assert bank.meet(photo(f"L{n}", f"S{n}", n), hashed, b"") == []


def test_a_cropped_copy_matches(bank: Bank) -> None:
    met(bank, photo("original", "S1", 10))
    cropped = cv2.resize(scenery(1)[7:-7, 9:-9], (500, 400), interpolation=cv2.INTER_AREA)
    assert met(bank, photo("copy", "S2", 20), fingerprint(np.asarray(cropped, np.uint8))) == [("copy", ["original"])]


# --- whose a listing is -----------------------------------------------------------------------------------------------


def test_a_photo_that_another_seller_puts_into_a_listing_is_refused_and_counts_for_nothing(bank: Bank) -> None:
    met(bank, photo("one", "owner", 10, sha="own"), fingerprint(scenery(2)))
    assert refused(bank, photo("one", "stranger", 5, sha="strange", revision=2))
    assert met(bank, photo("other", "S3", 20)) == []


def test_a_change_by_another_seller_is_ignored(bank: Bank) -> None:
    keep_only(bank, "one", 1, "own", seller="owner")
    keep_only(bank, "one", 2, "strange", seller="stranger")
    assert refused(bank, photo("one", "stranger", 5, sha="strange", revision=2))
    assert met(bank, photo("one", "owner", 10, sha="own")) == []
    assert met(bank, photo("copy", "S3", 20)) == [("copy", ["one"])]


def test_a_removal_in_another_sellers_name_is_ignored_and_one_without_a_name_is_not(bank: Bank) -> None:
    met(bank, photo("one", "owner", 10))
    bank.forget("one", "stranger")
    assert met(bank, photo("copy", "S2", 20)) == [("copy", ["one"])]
    bank.forget("one", "")
    assert met(bank, photo("copy", "S2", 20)) == [("copy", [])]


def test_a_removed_listing_is_still_its_sellers(bank: Bank) -> None:
    bank.forget("one", "owner")
    assert refused(bank, photo("one", "owner", 10))
    assert refused(bank, photo("one", "stranger", 10))


# --- originality ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [SCENE, MIRRORED], ids=["the same", "mirrored"])
def test_a_photo_that_is_listed_anew_counts_as_of_when_its_seller_first_showed_it(
    bank: Bank, again: Fingerprint
) -> None:
    met(bank, photo("first", "owner", 10))
    bank.forget("first", "owner")
    assert met(bank, photo("stolen", "thief", 40)) == []
    told = {one.listing_id: one for one in meet(bank, photo("anew", "owner", 50), again)}
    assert "anew" not in told
    assert (found(told["stolen"]), told["stolen"].blocked) == (("stolen", ["anew"]), True)
    assert told["stolen"].matches[0].uploaded_us == 10


def test_an_edited_photo_that_is_listed_anew_is_not_accused_by_what_came_after_its_sellers_first(bank: Bank) -> None:
    met(bank, photo("first", "owner", 10))
    bank.forget("first", "owner")
    assert met(bank, photo("stolen", "thief", 40)) == []
    assert met(bank, photo("anew", "owner", 50), NEARBY) == []
    assert met(bank, photo("stolen", "thief", 40)) == []


def test_that_another_seller_showed_a_hash_first_lends_no_time(bank: Bank) -> None:
    met(bank, photo("first", "S1", 10))
    bank.forget("first", "S1")
    met(bank, photo("second", "S2", 40))
    assert met(bank, photo("third", "S3", 50)) == [("third", ["second"])]


def test_a_blocked_copy_is_nobodys_original(bank: Bank) -> None:
    met(bank, photo("original", "S1", 10))
    met(bank, photo("copy", "S2", 20))
    bank.forget("original", "S1")
    assert met(bank, photo("third", "S3", 30), NEARBY) == []


def test_a_copy_that_left_lends_no_time(bank: Bank) -> None:
    met(bank, photo("original", "S1", 10))
    met(bank, photo("copy", "S2", 20))
    bank.forget("copy", "S2")
    bank.forget("original", "S1")
    met(bank, photo("third", "S3", 30))
    assert met(bank, photo("again", "S2", 40)) == [("again", ["third"])]


def test_what_once_followed_a_sellers_photo_is_never_that_sellers_original(bank: Bank) -> None:
    """Neither is the very picture that was removed, so that nothing lends the new one its time."""
    met(bank, photo("original", "owner", 10))
    met(bank, photo("reviewed", "S2", 20), REVIEWED)
    met(bank, photo("copy", "S3", 20), NEARBY)
    bank.forget("original", "owner")
    met(bank, photo("copy", "S3", 20), NEARBY)  # scored again, and allowed
    told = dict(met(bank, photo("anew", "owner", 50), changed(SCENE, 5, seed=9)))
    assert "anew" not in told


def test_nobody_walks_from_look_alike_to_look_alike_to_be_first_with_a_strangers_picture(bank: Bank) -> None:
    halfway = changed(SCENE, 25)
    victims = changed(halfway, 25, seed=1)
    assert bits_between(SCENE, victims) > MATCH_DISTANCE
    met(bank, photo("mine", "thief", 5))
    bank.forget("mine", "thief")
    met(bank, photo("victims", "victim", 30), victims)
    met(bank, photo("step", "puppet", 50))
    assert met(bank, photo("halfway", "thief", 60), halfway) == []
    bank.forget("halfway", "thief")
    met(bank, photo("step-2", "puppet", 65), halfway)
    told = {one.listing_id: one for one in meet(bank, photo("stolen", "thief", 70), victims)}
    assert told["stolen"].blocked
    assert "victims" not in told


def bits_between(one: Fingerprint, other: Fingerprint) -> int:
    return (int(one.hex, 16) ^ int(other.hex, 16)).bit_count()


def test_who_was_first_is_kept_for_the_earliest_sellers_of_a_hash_and_not_for_ever(redis_url: str) -> None:
    forget_everything(redis_url)
    bank = open_bank(redis_url)
    first = f"{PREFIX}first:{SCENE.hex}"
    for n in reversed(range(KEPT_SELLERS + 3)):
        met(bank, photo("only", f"S{n}", n))
        with redis.Redis.from_url(redis_url) as client:
            bank.forget("only", f"S{n}")
            client.delete(f"{PREFIX}listing:only")  # so that it may be another's
    with redis.Redis.from_url(redis_url) as client:
        kept = client.zrange(first, 0, -1, withscores=True)
        assert kept == [(f"S{n}".encode(), float(n)) for n in range(KEPT_SELLERS)]
        assert KEPT_SECONDS - 60 <= client.ttl(first) <= KEPT_SECONDS
    bank.close()
    forget_everything(redis_url)


# --- a picture of many sellers ----------------------------------------------------------------------------------------


def test_a_picture_that_many_sellers_show_blocks_nobody_and_those_blocked_before_are_scored_again(bank: Bank) -> None:
    met(bank, photo("L0", "S0", 0))
    for n in range(1, STOCK_SELLERS - 1):
        (marked,) = meet(bank, photo(f"L{n}", f"S{n}", n))
        assert marked.blocked
    last = photo("last", "last", 100)
    for _ in range(2):  # the news of those before may have been lost
        told = {one.listing_id: one for one in meet(bank, last, NEARBY)}
        assert told.keys() == {"last", *(f"L{n}" for n in range(1, STOCK_SELLERS - 1))}
        assert all((one.blocked, one.stock, one.matches[0].listing_id) == (False, True, "L0") for one in told.values())
    assert [one.listing_id for one in meet(bank, photo("more", "more", 200))] == ["more"]


def test_look_alikes_that_are_not_close_make_no_picture_of_many_sellers(bank: Bank) -> None:
    met(bank, photo("original", "S0", 0))
    for n in range(STOCK_SELLERS):
        met(bank, photo(f"L{n}", f"S{n + 1}", 1 + n), changed(SCENE, 25, seed=n))
    told = {one.listing_id: one for one in meet(bank, photo("copy", "thief", 100))}
    assert (told["copy"].blocked, told["copy"].stock) == (True, False)


# --- rebuilding -------------------------------------------------------------------------------------------------------


def test_while_a_bank_is_rebuilt_nothing_blocks_and_what_would_have_is_written_down(bank: Bank) -> None:
    bank.begin_rebuild()
    met(bank, photo("original", "S1", 10))
    (copy,) = meet(bank, photo("copy", "S2", 20, sha="x"))
    met(bank, photo("alike", "S3", 30), REVIEWED)
    assert (found(copy), copy.blocked) == (("copy", ["original"]), False)
    assert list(bank.withheld()) == [("copy", "x")]
    bank.end_rebuild()
    assert list(bank.withheld()) == [("copy", "x")]
    (copy, _) = meet(bank, photo("copy", "S2", 20, sha="x"))
    assert (found(copy), copy.blocked) == (("copy", ["original"]), True)
    bank.settled([("copy", "x")])
    bank.settled([])
    assert list(bank.withheld()) == []


def test_a_bank_that_was_emptied_under_a_process_takes_no_thief_for_the_first(redis_url: str) -> None:
    forget_everything(redis_url)
    began, anew = open_bank(redis_url), open_bank(redis_url)
    began.resume([])
    met(began, photo("original", "S1", 10))
    began.flushed()
    forget_everything(redis_url)
    with pytest.raises(Replaced, match="Redis lost it"):
        began.meet(photo("copy", "S2", 20), SCENE, b"")
    assert hashes_in_the_bands(redis_url) == set()
    with pytest.raises(Replaced, match="emptied"):
        began.still_there()
    with pytest.raises(Transient, match="vitrine rebuild"):
        anew.resume([began.stamp])
    anew.close_for_rebuild()
    anew.restore(stamp := Stamp("rebuilt", 1))
    anew.resume([stamp])
    met(anew, photo("original", "S1", 10))


# --- floods -----------------------------------------------------------------------------------------------------------


def flood(bank: Bank, count: int, seller: str = "spammer") -> None:
    for n in range(count):
        met(bank, photo(f"flood-{n}", seller, 1000 + n), changed(SCENE, 1 + n % 14, seed=n))


def hashes_in_the_bands(redis_url: str) -> set[bytes]:
    with redis.Redis.from_url(redis_url) as client:
        places = [value for field, value in client.hgetall(HASHES).items() if field != b"long"]
    return {value[at : at + 32] for value in places for at in range(0, len(value), 32)}


def test_a_flood_of_look_alikes_fills_the_bands_no_further_than_the_crowd(redis_url: str) -> None:
    forget_everything(redis_url)
    bank = open_bank(redis_url)
    flood(bank, CROWD + 60)
    assert len(hashes_in_the_bands(redis_url)) == CROWD
    flood(bank, CROWD + 60)  # delivered again
    assert len(hashes_in_the_bands(redis_url)) == CROWD
    for n in range(CROWD + 60):  # by another, with the very same hashes
        met(bank, photo(f"again-{n}", "puppet", 9000 + n), changed(SCENE, 1 + n % 14, seed=n))
    assert len(hashes_in_the_bands(redis_url)) == CROWD
    for n in range(CROWD + 60):
        bank.forget(f"flood-{n}", "spammer")
        bank.forget(f"again-{n}", "puppet")
    assert not hashes_in_the_bands(redis_url)
    with redis.Redis.from_url(redis_url) as client:
        assert not client.exists(f"{PREFIX}left-out")
    bank.close()
    forget_everything(redis_url)


def test_no_flood_crowds_out_an_original_nor_hides_a_copy(bank: Bank) -> None:
    met(bank, photo("original", "owner", 10))
    flood(bank, CROWD + 30)
    last = {one.listing_id: one for one in meet(bank, photo("stolen", "thief", 5000), changed(SCENE, 3, seed=999))}
    assert last["stolen"].matches[0].listing_id == "original"
    assert last["stolen"].blocked
    bank.forget("original", "owner")
    met(bank, photo("flood-more", "spammer", 5500), changed(SCENE, 7, seed=997))  # in the original's place
    again = {one.listing_id: one for one in meet(bank, photo("anew", "owner", 6000))}
    assert "anew" not in again
    last = {one.listing_id: one for one in meet(bank, photo("stolen", "thief", 5000), changed(SCENE, 3, seed=999))}
    assert last["stolen"].matches[0].listing_id == "anew"
    third = {one.listing_id: one for one in meet(bank, photo("third", "third", 7000), changed(SCENE, 3, seed=998))}
    assert third["third"].matches[0].listing_id == "anew"


def test_no_number_of_blocked_copies_hides_what_came_later_and_is_none(bank: Bank) -> None:
    met(bank, photo("original", "owner", 10))
    for n in range(LOOKED_AT + 5):
        met(bank, photo(f"copy-{n}", "thief", 100 + n))
    bank.forget("original", "owner")
    met(bank, photo("anew", "second", 5000), REVIEWED)
    told = {one.listing_id: one for one in meet(bank, photo("again", "puppet", 6000), REVIEWED)}
    assert told["again"].matches[0].listing_id == "anew"
    assert told["again"].blocked


def test_whoever_is_first_with_a_hash_that_was_left_out_is_found_by_it(bank: Bank) -> None:
    flood(bank, CROWD + 30)
    left_out = changed(SCENE, 1 + (CROWD + 29) % 14, seed=CROWD + 29)
    met(bank, photo("original", "owner", 10), left_out)
    told = {one.listing_id: one for one in meet(bank, photo("stolen", "thief", 5000), left_out)}
    assert told["stolen"].matches[0].listing_id == "original"


def test_a_copy_of_a_photo_that_is_left_out_is_found_to_be_one_of_those_before_it(bank: Bank) -> None:
    flood(bank, CROWD + 30, seller="owner")
    left_out = changed(SCENE, 1 + (CROWD + 29) % 14, seed=CROWD + 29)
    told = {one.listing_id: one for one in meet(bank, photo("stolen", "thief", 5000), left_out)}
    assert told["stolen"].matches[0].seller_id == "owner"


def test_no_place_in_the_bands_holds_more_than_it_may(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 20
    assert most < PLACE_HOLDS
    monkeypatch.setattr("services.fraud.bank.PLACE_HOLDS", most)
    forget_everything(redis_url)
    bank = open_bank(redis_url)
    random = np.random.default_rng(3)
    crafted = [Fingerprint((f"abcd{random.bytes(30).hex()}",), 100) for _ in range(most + 5)]
    for n, one in enumerate(crafted):
        assert met(bank, photo(f"L{n}", f"S{n}", n), one) == []
    with redis.Redis.from_url(redis_url) as client:
        assert client.hstrlen(HASHES, b"\x00\xab\xcd") == 32 * most
    assert met(bank, photo("copy", "thief", 100), crafted[-1]) == [("copy", [f"L{most + 4}"])]
    bank.close()
    forget_everything(redis_url)
