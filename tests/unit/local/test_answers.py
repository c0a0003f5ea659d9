"""An answer is checked against the pack and against the known truth, and a run's report says both."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from vitrine.events.v1 import enriched_pb2, image_pb2, listing_pb2

from client.listing import Effect, Imported
from local.answers import as_json, correct, faults
from local.following import Answer
from local.report import Outcome
from local.showing import attributes, score, varied
from local.showing import category as shown_category
from studio.demo import Expected

SHIRT = ("garments", "t-shirt")
PHONE = ("electronics", "phone")
ALLOW, REVIEW, BLOCK = (getattr(image_pb2.Fraud, f"DECISION_{word}") for word in ("ALLOW", "REVIEW", "BLOCK"))


@dataclass
class Pack:
    """Two leaves; phones have a memory."""

    manifest: Any = None
    taxonomy: Any = None

    def __post_init__(self) -> None:
        self.manifest = SimpleNamespace(pack_name="small@1", embedding=SimpleNamespace(space="small@1"))
        self.taxonomy = SimpleNamespace(leaves=(SHIRT, PHONE), nodes=(("garments",), ("electronics",), SHIRT, PHONE))

    def attributes_of(self, path: Sequence[str]) -> tuple[str, ...]:
        return ("colour", "memory") if tuple(path) == PHONE else ("colour",)


def category(path: tuple[str, ...] = SHIRT) -> image_pb2.Category:
    return image_pb2.Category(label=path[-1], path=path, confidence=0.9)


def attribute(name: str, value: str, unit: str = "", confidence: float = 0.8) -> image_pb2.Attribute:
    seen = image_pb2.Attribute.SOURCE_SEEN
    return image_pb2.Attribute(name=name, value=value, unit=unit, confidence=confidence, source=seen)


def listing(
    path: tuple[str, ...] = SHIRT,
    attributes: Sequence[image_pb2.Attribute] = (),
    fraud: image_pb2.Fraud | None = None,
    listing_id: str = "one",
) -> enriched_pb2.EnrichedListing:
    fraud = fraud or image_pb2.Fraud(decision=ALLOW)
    photo = enriched_pb2.EnrichedPhoto(
        photo=listing_pb2.Photo(sha256="ab" * 32),
        category=category(path),
        attributes=enriched_pb2.ImageAttributes(attributes=attributes),
        embedding_space="small@1",
        fraud=fraud,
    )
    return enriched_pb2.EnrichedListing(
        listing_id=listing_id,
        revision=5,
        status=enriched_pb2.EnrichedListing.STATUS_COMPLETE,
        category=category(path),
        attributes=attributes,
        fraud=fraud,
        photos=[photo],
    )


def answer(found: enriched_pb2.EnrichedListing | None, expected: Expected | None = None, name: str = "one") -> Answer:
    return Answer(Imported(name, "s", Effect.IMPORTED, name, 5, ("ab" * 32,)), found, expected)


def test_a_complete_answer_of_the_pack_has_no_faults() -> None:
    assert list(faults(listing(attributes=[attribute("colour", "red")]), Pack())) == []


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda photo: photo.ClearField("category"), "no category"),
        (lambda photo: photo.ClearField("attributes"), "no attributes"),
        (lambda photo: photo.ClearField("fraud"), "no valid fraud decision"),
        (lambda photo: photo.ClearField("embedding_space"), "embedded in no space, not small@1"),
        (lambda photo: photo.missing.append(enriched_pb2.FACET_FRAUD), "missing: FACET_FRAUD"),
        (lambda photo: photo.category.path.append("v-neck"), "category garments/t-shirt/v-neck is not in the pack"),
        (
            lambda photo: setattr(photo.category, "label", "garments"),
            "label garments is not the leaf of garments/t-shirt",
        ),
        (lambda photo: setattr(photo.category, "confidence", 1.5), "confidence 1.5 is no probability"),
        (
            lambda photo: photo.attributes.attributes.append(attribute("memory", "64", "GB")),
            "attribute memory does not belong to this category",
        ),
        (lambda photo: photo.attributes.attributes.append(attribute("colour", "")), "attribute colour is incomplete"),
    ],
)
def test_each_invalid_facet_is_named(spoil: Any, fault: str) -> None:
    spoiled = listing()
    spoil(spoiled.photos[0])
    assert fault in [line.split(": ", 1)[1] for line in faults(spoiled, Pack())]


def test_an_unknown_category_is_valid() -> None:
    unknown = listing()
    unknown.photos[0].category.CopyFrom(image_pb2.Category(path=["garments"], confidence=0.9))
    assert list(faults(unknown, Pack())) == []


def test_what_was_not_joined_or_holds_other_photos_is_a_fault() -> None:
    assert answer(None).faults(Pack()) == ["not joined"]
    other = Answer(Imported("one", "s", Effect.IMPORTED, "one", 5, ("cd" * 32,)), listing())
    assert other.faults(Pack()) == ["not the photos that were uploaded"]
    failed = Answer(Imported("one", "s", Effect.FAILED, error="too large"), None)
    assert failed.faults(Pack()) == ["too large"]


def test_answers_are_compared_with_the_truth() -> None:
    expected = Expected(PHONE, None, {"memory": ("64", "GB"), "brand": ("Velora", "")})
    found = listing(PHONE, [attribute("memory", "64", "GB"), attribute("brand", "VELORA")])
    assert correct(found, expected) == {"category": True, "fraud": True, "memory": True, "brand": True}
    wrong = listing(SHIRT, [attribute("memory", "64", "MB")])
    assert correct(wrong, expected) == {"category": False, "fraud": True, "memory": False, "brand": False}


def test_a_category_that_only_the_seller_claims_is_shown_and_reported_as_claimed() -> None:
    claims = image_pb2.Category.ORIGIN_CLAIMS
    watch = listing()
    watch.category.CopyFrom(image_pb2.Category(taxonomy_id="aa-6-11", confidence=0.65, origin=claims))
    reported = as_json(watch)["category"]
    assert (reported["path"], reported["taxonomy"], reported["origin"]) == ([], "aa-6-11", "claims")
    assert str(shown_category(watch.category)) == "aa-6-11 (claimed) 65%"
    assert list(faults(watch, Pack())) == []


def test_of_two_colours_the_surer_is_compared_and_reported_and_both_are_shown() -> None:
    white_and_blue = listing(attributes=[attribute("colour", "white"), attribute("colour", "blue", confidence=0.6)])
    assert correct(white_and_blue, Expected(SHIRT, "white", {}))["colour"]
    assert not correct(white_and_blue, Expected(SHIRT, "blue", {}))["colour"]
    assert as_json(white_and_blue)["attributes"]["colour"]["value"] == "white"
    assert attributes([attribute("brand", "Acme"), *white_and_blue.attributes]) == "brand Acme, colour white and blue"


def test_the_right_decision_for_the_wrong_reason_is_wrong() -> None:
    copied = Expected(SHIRT, "red", {}, ("block", "review"), "copy", copy_of="original")
    by_copy, by_claim = (
        image_pb2.Fraud(decision=REVIEW, reasons=[image_pb2.Reason(code=code)])
        for code in ("copy", "category_mismatch")
    )
    red = [attribute("colour", "red")]
    assert correct(listing(attributes=red, fraud=by_copy), copied)["fraud"]
    assert not correct(listing(attributes=red, fraud=by_claim), copied)["fraud"]


def test_the_score_counts_every_known_answer_also_of_what_was_lost() -> None:
    honest, copied = Expected(SHIRT, "red", {}), Expected(SHIRT, None, {}, ("block",), "copy", copy_of="one")
    answers = [answer(listing(attributes=[attribute("colour", "red")]), honest), answer(None, copied, "two")]
    assert score(answers) == {
        "category": (1, 2),
        "category: garments": (1, 2),
        "colour": (1, 1),
        "fraud: copy": (0, 1),
        "fraud: honest": (1, 1),
    }


def test_categories_are_counted_by_the_department_of_the_right_answer() -> None:
    red = [attribute("colour", "red")]
    taken_for_a_shirt = answer(listing(attributes=red), Expected(PHONE, None, {}))
    answers = [answer(listing(attributes=red), Expected(SHIRT, None, {})), taken_for_a_shirt]
    counted = score(answers)
    assert counted["category: garments"] == (1, 1)
    assert counted["category: electronics"] == (0, 1)
    assert counted["category"] == (1, 2)


def test_the_report_names_what_is_missing() -> None:
    outcome = Outcome(Pack(), [answer(listing()), answer(None, name="two")], ["x.heic: convert it"], {"answered": 1.23})
    report = outcome.as_json()
    assert outcome.faults == {"two": ["not joined"], "x.heic: convert it": ["not uploaded"]}
    assert report["pack"] == "small@1"
    assert report["counts"]["joined_photos"] == 1
    assert [one["faults"] for one in report["listings"]] == [[], ["not joined"]]
    reported = report["listings"][0]["category"]
    assert (reported["label"], reported["path"], reported["confidence"]) == ("t-shirt", list(SHIRT), 0.9)


def test_the_table_shows_every_category_and_decision_before_it_repeats_one() -> None:
    shirts = [answer(listing(), name=str(n)) for n in range(5)]
    phone = answer(listing(PHONE), name="phone")
    blocked = answer(listing(fraud=image_pb2.Fraud(decision=BLOCK)), name="blocked")
    shown = varied([*shirts, phone, blocked], 4)
    assert [one.imported.reference for one in shown] == ["0", "1", "phone", "blocked"]
