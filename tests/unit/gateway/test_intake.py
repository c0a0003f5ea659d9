"""Order, owners, and what is left half done: several gateways on one store, each with its own clock and broker."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from vitrine.events.v1 import listing_pb2

from services.gateway.form import File, Form
from services.gateway.intake import Intake
from services.gateway.problems import Problem
from services.gateway.settings import GatewaySettings
from shared import metrics
from shared.errors import Transient
from shared.photo_store import PhotoStore, open_photo_store
from shared.settings import BadSettings
from shared.topics import IMAGE_UPLOADED, LISTING_CHANGED
from tests.gateway import CLAIMS, FakeProducer, photo

NOW = 2_000_000_000_000_000  # microseconds
SECOND = 1_000_000
MINUTE = 60 * SECOND


@dataclass
class Gateway:
    """An intake whose clock stands still until it is moved."""

    store: PhotoStore
    decoders: ThreadPoolExecutor
    producer: FakeProducer
    now: int = NOW
    settings: GatewaySettings = field(default_factory=GatewaySettings)

    def __post_init__(self) -> None:
        self.intake = Intake(self.store, self.producer, self.settings, self.decoders, lambda: self.now)

    async def put(self, listing_id: str, form: Form, key: str | None = None) -> listing_pb2.ListingChanged:
        return await self.intake.replace(listing_id, form, key)


@pytest.fixture(scope="module")
def decoders() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "photos"


@pytest.fixture
def producer() -> FakeProducer:
    return FakeProducer()


@pytest.fixture
def gateway(folder: Path, decoders: ThreadPoolExecutor, producer: FakeProducer) -> Gateway:
    return Gateway(open_photo_store(str(folder)), decoders, producer)


@pytest.fixture
def behind(gateway: Gateway) -> Gateway:
    """Another gateway of the same store and broker, whose clock is three seconds behind."""
    return Gateway(gateway.store, gateway.decoders, gateway.producer, NOW - 3 * SECOND)


def upload(title: str = "Tee", seed: int = 0, **claims: Any) -> Form:
    return Form(json.dumps({**CLAIMS, "title": title, **claims}).encode(), (File(photo(seed), "a", 0),))


def naming(*photos: str, **claims: Any) -> Form:
    return Form(json.dumps({**CLAIMS, **claims, "photos": [{"sha256": sha256} for sha256 in photos]}).encode(), ())


def stated(microseconds: int) -> dict[str, Any]:
    seconds, rest = divmod(microseconds, SECOND)
    return {"updated_at": datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest).isoformat()}


def problem_of(refused: pytest.ExceptionInfo[Problem]) -> tuple[str, int]:
    return refused.value.code, int(refused.value.type.status)


def objects(folder: Path, prefix: str) -> list[str]:
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if path.startswith(prefix))


# --- revisions --------------------------------------------------------------------------------------------------------


async def test_an_edit_through_a_gateway_whose_clock_is_behind_wins(gateway: Gateway, behind: Gateway) -> None:
    wrong = await gateway.put("x", upload("wrong price"))
    right = await behind.put("x", upload("right price"))
    assert (wrong.revision, right.revision) == (NOW, NOW + 1)


async def test_a_removal_comes_after_all_revisions(gateway: Gateway, behind: Gateway) -> None:
    await gateway.put("x", upload())
    removed = await behind.intake.remove("x")
    assert removed is not None and removed.revision == NOW + 1


@pytest.mark.parametrize("earlier_by", [0, 1, MINUTE])
async def test_an_updated_at_that_is_not_later_is_refused(gateway: Gateway, earlier_by: int) -> None:
    await gateway.put("x", upload())
    sent = len(gateway.producer.sent)
    with pytest.raises(Problem) as refused:
        await gateway.put("x", upload("late news", **stated(NOW - earlier_by)))
    assert problem_of(refused) == ("stale-revision", 409)
    assert str(NOW) in refused.value.detail and "leave it out" in refused.value.remedy
    assert len(gateway.producer.sent) == sent


async def test_a_later_updated_at_is_the_revision_and_the_next_without_one_follows_it(gateway: Gateway) -> None:
    await gateway.put("x", upload())
    assert (await gateway.put("x", upload(**stated(NOW + MINUTE)))).revision == NOW + MINUTE
    assert (await gateway.put("x", upload("again"))).revision == NOW + MINUTE + 1


async def test_the_same_request_with_the_same_updated_at_is_a_repeat_and_says_the_same(gateway: Gateway) -> None:
    first = await gateway.put("x", upload(**stated(NOW - 9)))
    gateway.now += MINUTE
    again = await gateway.put("x", upload(**stated(NOW - 9)))
    assert again.SerializeToString() == first.SerializeToString()
    assert gateway.producer.sent[0].value == gateway.producer.sent[2].value
    assert gateway.producer.sent[0].headers["ce_id"] == gateway.producer.sent[2].headers["ce_id"]


async def test_a_refused_updated_at_is_refused_again(gateway: Gateway) -> None:
    await gateway.put("x", upload())
    for _ in range(2):
        with pytest.raises(Problem) as refused:
            await gateway.put("x", upload("late news", **stated(NOW - 5)), "a key")
        assert problem_of(refused) == ("stale-revision", 409)


async def test_of_old_revisions_only_the_last_are_kept(gateway: Gateway, folder: Path) -> None:
    for _ in range(6):
        gateway.now += 11 * MINUTE
        await gateway.put("x", upload())
    kept = [int(place.rpartition("/")[2]) for place in objects(folder, "listings/x/revisions/")]
    assert kept == [NOW + n * 11 * MINUTE for n in (4, 5, 6)]
    assert (await gateway.put("x", upload())).revision == gateway.now + 1


async def test_a_number_that_a_slower_gateway_may_still_take_is_not_free(gateway: Gateway, folder: Path) -> None:
    for _ in range(6):
        await gateway.put("x", upload())
    assert len(objects(folder, "listings/x/revisions/")) == 6


# --- what is left half done -------------------------------------------------------------------------------------------


async def half_published(gateway: Gateway, key: str | None = None) -> Problem:
    """The broker goes away between the listing and its photos, and is there again."""
    gateway.producer.dies_before = IMAGE_UPLOADED
    with pytest.raises(Problem) as refused:
        await gateway.put("x", upload(), key)
    gateway.producer.dies_before = None
    assert gateway.producer.topics == ["listing.changed"]
    return refused.value


@pytest.mark.parametrize("key", [None, "a key"])
async def test_what_was_half_published_is_completed_by_any_gateway(
    gateway: Gateway, behind: Gateway, folder: Path, key: str | None
) -> None:
    refused = await half_published(gateway, key)
    assert refused.code == "broker-unavailable" and "may still be completed" in refused.detail
    completed = metrics.INTAKE.get_sample_value("vitrine_gateway_completed_total") or 0
    behind.now = NOW + 3 * MINUTE
    with capture_logs() as lines:
        assert await behind.intake.complete_pending() == 1

    listing, again, image = gateway.producer.sent
    assert (listing.topic, again.topic, image.topic) == (LISTING_CHANGED, LISTING_CHANGED, IMAGE_UPLOADED)
    assert again.value == listing.value and again.headers["ce_id"] == listing.headers["ce_id"]
    assert gateway.producer.uploads[0].photo == gateway.producer.changes[0].listing.photos[0]
    assert gateway.producer.uploads[0].uploaded_at.ToMicroseconds() == NOW
    assert await behind.intake.has_accepted("x")
    assert objects(folder, "pending/") == []
    assert metrics.INTAKE.get_sample_value("vitrine_gateway_completed_total") == completed + 1
    assert [(line["event"], line["listing_id"], line["revision"]) for line in lines] == [
        ("completed a change", "x", NOW)
    ]
    assert await behind.intake.complete_pending() == 0


async def test_what_is_just_being_published_is_left_alone(gateway: Gateway) -> None:
    await half_published(gateway)
    gateway.now += int(gateway.settings.pending_seconds) * SECOND
    assert await gateway.intake.complete_pending() == 0
    gateway.now += 1
    assert await gateway.intake.complete_pending() == 1


async def test_what_was_acknowledged_leaves_nothing_to_complete(gateway: Gateway, folder: Path) -> None:
    await gateway.put("x", upload())
    await gateway.intake.remove("x")
    assert objects(folder, "pending/") == []


async def test_a_repeat_with_its_key_completes_it_too_with_the_same_bytes(gateway: Gateway, folder: Path) -> None:
    await half_published(gateway, "a key")
    gateway.now += SECOND
    await gateway.put("x", upload(), "a key")
    assert [change.revision for change in gateway.producer.changes] == [NOW, NOW]
    assert gateway.producer.sent[0].value == gateway.producer.sent[1].value
    assert objects(folder, "pending/") == []


async def test_a_sweep_while_the_broker_is_away_leaves_it_for_the_next(gateway: Gateway) -> None:
    await half_published(gateway)
    gateway.now += 3 * MINUTE
    gateway.producer.away = True
    with pytest.raises(Problem):
        await gateway.intake.complete_pending()
    gateway.producer.away = False
    assert await gateway.intake.complete_pending() == 1


async def test_a_removal_that_the_broker_did_not_take_is_in_force_and_completed(gateway: Gateway) -> None:
    await gateway.put("x", upload())
    gateway.producer.away = True
    with pytest.raises(Problem) as refused:
        await gateway.intake.remove("x")
    assert problem_of(refused) == ("broker-unavailable", 503)
    gateway.producer.away = False
    # It may be on the broker, where it is final: a yes to an upload now would be a lie.
    with pytest.raises(Problem) as gone:
        await gateway.put("x", upload("after"))
    assert problem_of(gone) == ("listing-removed", 410)
    gateway.now += 3 * MINUTE
    assert await gateway.intake.complete_pending() == 1
    assert gateway.producer.changes[-1].HasField("removed")


async def test_what_a_removal_has_superseded_is_dropped(gateway: Gateway, folder: Path) -> None:
    await half_published(gateway)
    await gateway.intake.remove("x")
    gateway.now += 3 * MINUTE
    await gateway.intake.complete_pending()
    assert gateway.producer.topics == ["listing.changed", "listing.changed"]
    assert objects(folder, "pending/") == []


async def test_what_a_newer_revision_has_superseded_is_published_all_the_same(gateway: Gateway) -> None:
    await half_published(gateway)
    gateway.now += SECOND
    await gateway.put("x", upload("newer"))
    gateway.now += 3 * MINUTE
    await gateway.intake.complete_pending()
    assert [change.revision for change in gateway.producer.changes] == [NOW, NOW + SECOND, NOW]
    assert [image.revision for image in gateway.producer.uploads] == [NOW + SECOND, NOW]


async def test_what_cannot_be_noted_of_what_was_acknowledged_is_a_yes_all_the_same(
    gateway: Gateway, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_key: str) -> None:
        raise Transient("the photo store is away")

    monkeypatch.setattr(gateway.store, "delete", away)
    assert (await gateway.put("x", upload(), "a key")).revision == NOW
    assert len(objects(folder, "pending/")) == 1, "a sweep publishes it once more, which is harmless"


async def test_a_note_that_cannot_be_read_is_given_up_and_logged(gateway: Gateway) -> None:
    await gateway.store.create("pending/1-x-1", b"")
    with capture_logs() as lines:
        assert await gateway.intake.complete_pending() == 0
    assert lines[0]["place"] == "pending/1-x-1"
    assert not await gateway.store.exists("pending/1-x-1")


# --- owners -----------------------------------------------------------------------------------------------------------


async def test_a_stranger_can_neither_take_a_listing_nor_learn_whose_it_is(gateway: Gateway) -> None:
    mine = await gateway.put("x", upload())
    sent = len(gateway.producer.sent)
    for theirs in (
        upload("mine now", seller_id="stranger"),
        naming(mine.listing.photos[0].sha256, seller_id="stranger"),
        naming("0" * 64, seller_id="stranger"),
    ):
        with pytest.raises(Problem) as refused:
            await gateway.put("x", theirs)
        assert problem_of(refused) == ("not-the-owner", 403)
        assert "seller-42" not in refused.value.detail + refused.value.remedy
    assert len(gateway.producer.sent) == sent
    assert (await gateway.put("x", upload("still mine"))).listing.seller_id == "seller-42"


async def test_who_comes_first_is_the_owner_and_what_is_refused_owns_nothing(gateway: Gateway) -> None:
    with pytest.raises(Problem):
        await gateway.put("x", Form(json.dumps({**CLAIMS, "seller_id": "s1"}).encode(), (File(b"no photo", "a", 0),)))
    assert await gateway.intake.owner("x") is None
    await gateway.put("x", upload(seller_id="s2"))
    assert await gateway.intake.owner("x") == "s2"


async def test_an_owner_that_a_power_loss_left_empty_is_written_anew(gateway: Gateway, folder: Path) -> None:
    await gateway.put("x", upload())
    (folder / "listings/x/owner").write_bytes(b"")
    await gateway.put("x", upload("again"))
    assert await gateway.intake.owner("x") == "seller-42"


async def test_a_removal_is_published_once_however_often_it_is_asked_for(gateway: Gateway) -> None:
    await gateway.put("x", upload())
    removals = [await gateway.intake.remove("x") for _ in range(5)]
    assert removals == [removals[0]] * 5
    assert [change.WhichOneof("change") for change in gateway.producer.changes] == ["listing", "removed"]


async def test_an_upload_repeated_after_the_removal_is_neither_accepted_nor_published(gateway: Gateway) -> None:
    gateway.producer.away = True
    with pytest.raises(Problem, match="broker-unavailable"):
        await gateway.put("x", upload(), "key")
    gateway.producer.away = False
    await gateway.intake.remove("x")
    published = len(gateway.producer.sent)
    with pytest.raises(Problem, match="listing-removed"):
        await gateway.put("x", upload(), "key")
    assert len(gateway.producer.sent) == published


async def test_what_was_sent_is_let_go_of_when_it_is_cleaned(gateway: Gateway) -> None:
    form = upload()
    assert form.files[0].body
    await gateway.put("x", form)
    assert form.files[0].body == b""


async def test_a_removal_says_whose_listing_it_was(gateway: Gateway) -> None:
    await gateway.put("x", upload())
    await gateway.intake.remove("x")
    assert gateway.producer.changes[-1].removed.seller_id == "seller-42"


async def test_a_removal_of_what_never_was_writes_nothing(gateway: Gateway, folder: Path) -> None:
    assert await gateway.intake.remove("never-heard-of") is None
    assert objects(folder, "") == [] and gateway.producer.sent == []


async def test_a_listing_from_before_owners_were_written_down_can_be_taken_down(gateway: Gateway) -> None:
    await gateway.store.create("listings/old/accepted", b"")
    removed = await gateway.intake.remove("old")
    assert removed is not None and removed.removed.seller_id == ""


# --- ids --------------------------------------------------------------------------------------------------------------


async def test_all_gateways_of_a_store_make_the_same_id_of_a_key(gateway: Gateway, behind: Gateway) -> None:
    made = await gateway.intake.listing_id("seller-42", "a key")
    assert await behind.intake.listing_id("seller-42", "a key") == made
    assert (await behind.intake.create(upload(), "a key")).listing_id == made
    assert await gateway.intake.listing_id("seller-43", "a key") != made
    assert await gateway.intake.listing_id("seller-42", "another") != made


async def test_ids_of_another_store_are_others(gateway: Gateway, tmp_path: Path) -> None:
    elsewhere = Gateway(open_photo_store(str(tmp_path / "elsewhere")), gateway.decoders, FakeProducer())
    made = {await one.intake.listing_id("seller-42", "a key") for one in (gateway, elsewhere)}
    assert len(made) == 2, "nobody can make them without the secret"


async def test_a_secret_that_is_set_makes_the_ids_and_none_is_stored(
    tmp_path: Path, decoders: ThreadPoolExecutor
) -> None:
    settings = GatewaySettings.model_validate({"id_secret": "correct horse battery"})
    stores = [open_photo_store(str(tmp_path / name)) for name in ("one", "other")]
    made = [
        await Gateway(store, decoders, FakeProducer(), settings=settings).intake.listing_id("s", "k")
        for store in stores
    ]
    assert made[0] == made[1] and objects(tmp_path, "") == []
    assert "horse" not in repr(settings)


def test_a_secret_that_is_too_short_is_refused_and_not_repeated() -> None:
    with pytest.raises(BadSettings, match="VITRINE_ID_SECRET is shorter than 16") as refused:
        _ = GatewaySettings.model_validate({"id_secret": "guess me"}).secret_of_ids
    assert "guess" not in str(refused.value)


async def test_a_damaged_secret_is_told_and_not_replaced(gateway: Gateway) -> None:
    await gateway.store.create("secrets/listing-ids", b"half of i")
    with pytest.raises(Transient, match=r"secrets/listing-ids .* is damaged"):
        await gateway.intake.listing_id("s", "k")
    assert await gateway.store.get("secrets/listing-ids") == b"half of i"


async def test_a_key_that_was_used_before_ids_were_secret_answers_its_id(gateway: Gateway) -> None:
    first = await gateway.intake.create(upload(), "a key")
    [place] = [key for key in await gateway.store.keys("intake") if not key.endswith(".done")]
    said = json.loads(await gateway.store.get(place))
    said["change"]["listing_id"] = "made-openly"
    await gateway.store.replace(place, json.dumps(said).encode())
    assert first.listing_id != "made-openly"
    assert (await gateway.intake.create(upload(), "a key")).listing_id == "made-openly"
    assert await gateway.intake.listing_id("seller-42", "a key") == "made-openly"


# --- when -------------------------------------------------------------------------------------------------------------


async def test_a_change_says_when_it_was_accepted_whatever_revision_it_states(gateway: Gateway) -> None:
    await gateway.put("x", upload(**stated(NOW - MINUTE)))
    await gateway.intake.remove("x")
    assert [change.accepted_at.ToMicroseconds() for change in gateway.producer.changes] == [NOW, NOW]


async def test_a_photo_says_when_the_listing_first_had_it_past_edits_and_being_dropped(gateway: Gateway) -> None:
    first = (await gateway.put("x", upload(seed=1))).listing.photos[0]
    assert first.uploaded_at.ToMicroseconds() == NOW
    changes = []
    for form in (upload(seed=2), upload(seed=1), naming(first.sha256), upload(seed=2)):
        gateway.now += MINUTE
        changes.append(await gateway.put("x", form))
    times = [change.listing.photos[0].uploaded_at.ToMicroseconds() for change in changes]
    assert times == [NOW + MINUTE, NOW, NOW, NOW + MINUTE]
    assert gateway.producer.uploads[2].photo == first


async def test_a_photo_of_another_listing_has_a_time_of_its_own(gateway: Gateway) -> None:
    await gateway.put("x", upload())
    gateway.now += MINUTE
    other = await gateway.put("y", upload())
    assert other.listing.photos[0].uploaded_at.ToMicroseconds() == NOW + MINUTE


async def test_a_photo_from_before_times_were_written_down_is_given_none(gateway: Gateway) -> None:
    first = (await gateway.put("x", upload())).listing.photos[0]
    place = f"listings/x/photos/{first.sha256}"
    first.ClearField("uploaded_at")
    await gateway.store.replace(place, first.SerializeToString())
    for form in (upload("again"), naming(first.sha256)):
        assert not (await gateway.put("x", form)).listing.photos[0].HasField("uploaded_at")


async def test_a_photos_record_that_a_power_loss_left_empty_is_written_anew(gateway: Gateway, folder: Path) -> None:
    first = (await gateway.put("x", upload())).listing.photos[0]
    (folder / f"listings/x/photos/{first.sha256}").write_bytes(b"")
    with pytest.raises(Problem, match="unknown-photo"):
        await gateway.put("x", naming(first.sha256))
    again = (await gateway.put("x", upload("again"))).listing.photos[0]
    assert again == first
    assert (await gateway.put("x", naming(first.sha256))).listing.photos[0] == first


async def test_an_acceptance_that_a_power_loss_left_empty_is_written_anew(gateway: Gateway) -> None:
    await gateway.put("x", upload(), "a key")
    [place] = [key for key in await gateway.store.keys("intake") if not key.endswith(".done")]
    await gateway.store.replace(place, b"")
    again = await gateway.put("x", upload(), "a key")
    gateway.now += MINUTE
    assert await gateway.put("x", upload(), "a key") == again
