"""How events become one record: the order they come in never matters."""

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st
from vitrine.events.v1 import enriched_pb2, image_pb2
from vitrine.recommendation.v1 import recommendation_pb2

from services.recommendation.fields import (
    FACETS,
    Enriched,
    Update,
    change_of,
    enriched,
    merged,
    read,
    refuses,
    shown,
    uploaded_at,
    vectors,
)
from services.recommendation.names import name_categories
from services.recommendation.rank import Filter, index_attributes, matches
from shared.errors import Poison
from tests.joining import (
    ALLOW,
    BLOCK,
    REVIEW,
    SPACE,
    assessed,
    attributed,
    changed,
    classified,
    delivered,
    embedded,
    record_of,
    removed,
    results,
    scored,
    unit,
)


def updates(*messages: Message) -> list[Update]:
    return [read(r.assignment.topic, r.key, r.value) for r in delivered(*messages)]


def joined(*messages: Message, one_by_one: bool = True) -> dict[str, bytes]:
    if not one_by_one:
        return merged({}, updates(*messages))
    fields: dict[str, bytes] = {}
    for update in updates(*messages):
        fields = merged(fields, [update])
    return fields


REVISIONS = {1: ("a", "b"), 2: ("b",), 3: ("b", "c"), 4: ("a", "c")}


def history(last: int, removal: int | None) -> list[Message]:
    """Revisions 1 to `last`, each with all four facets of each of its photos, and maybe a removal."""
    events: list[Message] = []
    for revision in range(1, last + 1):
        events.append(changed("x", revision, REVISIONS[revision], title=f"title {revision}"))
        for photo in REVISIONS[revision]:
            events += results("x", revision, photo, seed=revision, decision=(ALLOW, REVIEW, BLOCK)[revision % 3])
    return [*events, removed("x", removal)] if removal else events


@settings(max_examples=150)
@given(st.data(), st.integers(1, 4), st.sampled_from([None, 1, 9]))
def test_any_order_and_any_repetition_of_the_events_end_in_the_same_record(
    data: st.DataObject, last: int, removal: int | None
) -> None:
    events = history(last, removal)
    again = data.draw(st.lists(st.sampled_from(range(len(events))), max_size=len(events)))
    order = data.draw(st.permutations([*range(len(events)), *again]))
    assert joined(*(events[i] for i in order), one_by_one=data.draw(st.booleans())) == joined(*events)


@settings(max_examples=150)
@given(st.data())
def test_any_order_of_some_of_the_events_agrees_while_no_photo_comes_back(data: st.DataObject) -> None:
    events = [e for e in history(3, None) if data.draw(st.booleans())]
    order = data.draw(st.permutations(events))
    assert enriched(joined(*order)) == enriched(joined(*events))


@settings(max_examples=50)
@given(st.permutations(range(4)))
def test_results_are_ordered_by_revision_then_generation_then_time(order: list[int]) -> None:
    ranked = [(1, 9, 9), (2, 1, 9), (2, 2, 1), (2, 2, 2)]
    found = [classified(assessed("x", *rank[:1], "a", *rank[1:]), [str(rank)]) for rank in ranked]
    record = record_of(joined(changed("x", 1), *(found[i] for i in order)))
    assert record.category.label == str((2, 2, 2))


def test_a_listing_without_results_is_pending_and_misses_everything() -> None:
    record = record_of(joined(changed("x", 1, ["a", "b"])))
    assert record.status == Enriched.STATUS_PENDING
    assert [list(photo.missing) for photo in record.photos] == [list(FACETS)] * 2
    assert not shown(record)


def test_results_alone_are_no_record_yet() -> None:
    fields = joined(*results("x", 1))
    assert enriched(fields) is None and len(fields) == 4


def test_a_partial_record_says_what_is_missing_where() -> None:
    record = record_of(joined(changed("x", 1, ["a", "b"]), *results("x", 1, "a"), *results("x", 1, "b")[:2]))
    assert record.status == Enriched.STATUS_PARTIAL
    assert [list(photo.missing) for photo in record.photos] == [
        [],
        [enriched_pb2.FACET_EMBEDDING, enriched_pb2.FACET_FRAUD],
    ]


def test_the_first_photo_gives_category_and_vector_and_the_surest_gives_each_attribute() -> None:
    a, b = assessed("x", 1, "a"), assessed("x", 1, "b")
    fields = joined(
        changed("x", 1, ["a", "b"]),
        classified(a, ["garments", "shoes"]),
        classified(b, ["garments", "hat"]),
        embedded(a, 1),
        embedded(b, 2),
        attributed(a, 0.5, colour="red", brand="Acme"),
        attributed(b, 0.6, colour="blue"),
        scored(a),
        scored(b, REVIEW),
    )
    record = record_of(fields)
    assert record.status == Enriched.STATUS_COMPLETE
    assert record.category.label == "shoes"
    assert {x.name: x.value for x in record.attributes} == {"colour": "blue", "brand": "Acme"}
    assert record.fraud.decision == REVIEW and [r.code for r in record.fraud.reasons] == ["copy"]
    assert vectors(fields)[SPACE] @ unit(1) == pytest.approx(1)


def test_the_category_is_what_photo_and_claims_say_together_and_the_photos_own_is_what_is_seen() -> None:
    shown = classified(assessed("x", 1, "a"))
    shown.category.confidence = 0.6
    shown.candidates.add(path=["garments", "t-shirt"], taxonomy_id="aa-1-13-8", probability=0.6)
    shown.candidates.add(path=["garments", "pants"], taxonomy_id="aa-1-12", probability=0.3)
    record = record_of(joined(shown, changed("x", 1, title="Sahara pants, black")))
    assert (list(record.category.path), record.category.taxonomy_id) == (["garments", "pants"], "aa-1-12")
    assert record.category.origin == image_pb2.Category.ORIGIN_BOTH
    assert record.photos[0].category == shown.category, "fraud compares what is seen with what is claimed"
    assert matches(record, Filter(category_path=["garments", "pants"], taxonomy_id="aa-1-12"))
    assert not matches(record, Filter(category_path=["garments", "t-shirt"]))
    edited = record_of(joined(shown, changed("x", 1, title="Sahara pants"), changed("x", 2, title="Sahara t-shirt")))
    assert edited.category.label == "t-shirt", "an edit has the same photo weighed against the new title"


def test_of_an_unknown_photo_the_category_is_what_is_claimed_found_by_its_id() -> None:
    unknown = image_pb2.ImageClassified(assessment=assessed("x", 1, "a"))
    unknown.category.confidence = 0.9
    record = record_of(joined(unknown, changed("x", 1, title="Summit Watch")))
    assert (list(record.category.path), record.category.label) == ([], "")
    assert (record.category.taxonomy_id, record.category.origin) == ("aa-6-11", image_pb2.Category.ORIGIN_CLAIMS)
    assert not record.photos[0].category.taxonomy_id
    assert matches(record, Filter(taxonomy_id="aa-6")) and not matches(record, Filter(category_path=["garments"]))
    assert index_attributes(record)["taxonomy"] == ["aa", "aa-6", "aa-6-11"]
    assert name_categories(record, "de").category.display_name == "Armbanduhren & Taschenuhren"


def test_two_colours_of_one_photo_are_both_the_listings_and_a_filter_finds_it_by_either() -> None:
    a, b = assessed("x", 1, "a"), assessed("x", 1, "b")
    shirt = attributed(a, 0.8, colour="white")
    shirt.attributes.add(name="colour", value="blue", confidence=0.6)
    fields = joined(changed("x", 1, ["a", "b"]), shirt, attributed(b, 0.7, colour="red", audience="kids"))
    record = record_of(fields)
    assert [(x.name, x.value) for x in record.attributes] == [
        ("audience", "kids"),
        ("colour", "white"),
        ("colour", "blue"),
    ]
    found = {colour: matches(record, coloured(colour)) for colour in ("white", "blue", "red")}
    assert found == {"white": True, "blue": True, "red": False}


def coloured(value: str) -> Filter:
    return Filter(attributes=[recommendation_pb2.AttributeFilter(name="colour", value=value)])


def test_photos_in_another_order_change_the_listings_vector() -> None:
    found = [*results("x", 1, "a", seed=1), *results("x", 1, "b", seed=2)]
    fields = joined(changed("x", 1, ["a", "b"]), *found, changed("x", 2, ["b", "a"]))
    assert vectors(fields)[SPACE] @ unit(2) == pytest.approx(1)


def test_a_removal_wins_over_later_revisions_and_leaves_nothing_behind() -> None:
    fields = joined(changed("x", 1), *results("x", 1), removed("x", 1), changed("x", 2), *results("x", 2))
    assert list(fields) == ["change"]
    assert record_of(fields).status == Enriched.STATUS_REMOVED and not shown(record_of(fields))


def test_a_photo_that_is_no_longer_named_ceases_to_exist() -> None:
    fields = joined(changed("x", 1, ["a", "b"]), *results("x", 1, "a"), *results("x", 1, "b"), changed("x", 2, ["b"]))
    assert not any(field.endswith("/a") for field in fields)
    assert joined(changed("x", 2, ["b"]), *results("x", 1, "a")) == joined(changed("x", 2, ["b"]))


def test_a_kept_photo_keeps_what_was_seen_but_its_fraud_decision_is_waited_for_anew() -> None:
    record = record_of(joined(changed("x", 1), *results("x", 1), changed("x", 2)))
    [photo] = record.photos
    assert list(photo.missing) == [enriched_pb2.FACET_FRAUD]
    assert record.category.label == "t-shirt" and record.embedding_space == SPACE
    assert record.status == Enriched.STATUS_PARTIAL


def test_an_edit_does_not_free_a_blocked_listing() -> None:
    before = [changed("x", 1), *results("x", 1, decision=BLOCK), changed("x", 2)]
    record = record_of(joined(*before))
    assert record.fraud.decision == BLOCK and not shown(record)
    assert shown(record_of(joined(*before, scored(assessed("x", 2, "a"), ALLOW))))


def test_an_edit_does_not_hide_an_allowed_listing() -> None:
    assert shown(record_of(joined(changed("x", 1), *results("x", 1), changed("x", 2))))


def test_a_photo_nobody_scored_yet_hides_the_listing_and_one_blocked_photo_blocks_it_at_once() -> None:
    listing = changed("x", 1, ["a", "b"])
    assert not shown(record_of(joined(listing, *results("x", 1, "a"))))
    record = record_of(joined(listing, *results("x", 1, "a", decision=BLOCK)))
    assert record.fraud.decision == BLOCK


def test_a_score_for_a_revision_to_come_already_holds() -> None:
    record = record_of(joined(changed("x", 1), *results("x", 2)))
    assert record.status == Enriched.STATUS_COMPLETE


def test_results_that_come_before_their_change_count_even_if_another_change_has_the_same_revision() -> None:
    first, second = sorted((changed("x", 1, ["a"]), changed("x", 1, ["b"])), key=lambda c: c.SerializeToString())
    photo = second.listing.photos[0].sha256
    early = joined(first, *results("x", 1, photo), second)
    assert record_of(early).status == Enriched.STATUS_COMPLETE
    assert early == joined(first, second, *results("x", 1, photo))


def test_vectors_of_two_spaces_stand_side_by_side() -> None:
    a = assessed("x", 1, "a")
    old, new = embedded(a, 1, "builtin@1"), embedded(assessed("x", 1, "a", generation=2), 2, "large@1", 32)
    fields = joined(changed("x", 1), new, old)
    assert {space: vector.size for space, vector in vectors(fields).items()} == {"builtin@1": 16, "large@1": 32}
    assert record_of(fields).embedding_space == "large@1"


def test_the_upload_time_is_that_of_the_current_revision() -> None:
    assert uploaded_at(joined(changed("x", 5), *results("x", 4), *results("x", 5))) == 5
    assert uploaded_at(joined(changed("x", 5))) is None


def at(seconds: int = 0, nanos: int = 0) -> image_pb2.Assessment:
    """Assessed at what may be no time at all."""
    about = assessed("x", 1, "a")
    about.assessed_at.CopyFrom(Timestamp(seconds=seconds, nanos=nanos))
    return about


BAD: dict[str, Message] = {
    "a listing without photos": changed("x", 1, []),
    "a revision that is no time": changed("x", 0),
    "neither listing nor removal": type(changed("x", 1))(listing_id="x", revision=1),
    "no photo": scored(assessed("x", 1, "")),
    "a time before 1970": scored(at(seconds=-1)),
    "a time after the year 9999": scored(at(seconds=10**14)),
    "nanoseconds below 0": scored(at(nanos=-1000)),
    "nanoseconds of a whole second": scored(at(nanos=10**9)),
    "no decision": image_pb2.ImageScored(assessment=assessed("x", 1, "a")),
    "no category": image_pb2.ImageClassified(assessment=assessed("x", 1, "a")),
    "no vector": image_pb2.ImageEmbedded(assessment=assessed("x", 1, "a"), space=SPACE),
    "a vector of another length": image_pb2.ImageEmbedded(
        assessment=assessed("x", 1, "a"), space=SPACE, vector=[2.0, 0.0]
    ),
    "a vector with NaN": image_pb2.ImageEmbedded(
        assessment=assessed("x", 1, "a"), space=SPACE, vector=[float("nan"), 1.0]
    ),
}


@pytest.mark.parametrize("message", BAD.values(), ids=BAD.keys())
def test_a_message_that_can_never_be_joined_is_poison(message: Message) -> None:
    [record] = delivered(message)
    with pytest.raises(Poison, match="invalid"):
        read(record.assignment.topic, record.key, record.value)


def test_bytes_that_are_no_message_and_keys_of_another_listing_are_poison() -> None:
    with pytest.raises(Poison, match="undecodable"):
        read("listing.changed", b"x", b"\xff\xff")
    with pytest.raises(Poison, match="the key is"):
        read("listing.changed", b"y", changed("x", 1).SerializeToString())


def test_a_listing_stays_with_the_seller_who_was_known_to_have_it_first() -> None:
    stranger, removal = changed("x", 3, seller="bob"), removed("x", 4)
    removal.removed.seller_id = "bob"
    known = merged({}, updates(changed("x", 1, seller="ann"), stranger, removal))
    assert change_of(known) == changed("x", 1, seller="ann")
    assert [refuses(known, update) for update in updates(stranger, removal, changed("x", 2, seller="ann"))] == [
        True,
        True,
        False,
    ]


def test_a_removal_that_does_not_say_whose_listing_it_was_is_believed() -> None:
    known = merged({}, updates(changed("x", 1, seller="ann"), removed("x", 2)))
    assert change_of(known) == removed("x", 2)
    assert not any(refuses(known, update) for update in updates(changed("x", 3, seller="bob")))
