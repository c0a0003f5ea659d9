"""What is sold follows from what the photo shows and from what the claims mean, each as far as it is sure."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vitrine.events.v1 import image_pb2, listing_pb2

from shared.claims import Meaning
from shared.claims.weighing import BOTH, CLAIMS, PHOTO, Claimed, category_of, claimed, weighed

SHIRT, T_SHIRT, PANTS, SHOES = "aa-1-13-7", "aa-1-13-8", "aa-1-12", "aa-8"
IDS = {"shirt": SHIRT, "t-shirt": T_SHIRT, "pants": PANTS, "shoes": SHOES, "house-brand": ""}


def seen(label: str = "", confidence: float = 0.9, node: str = "", **leaves: float) -> image_pb2.ImageClassified:
    """A photo that was seen as a garment's leaf, as a node, or as nothing; `leaves` with their probabilities."""
    probabilities = {name.replace("_", "-"): probability for name, probability in leaves.items()}
    path = ["garments", label] if label else ["garments"] if node else []
    category = image_pb2.Category(
        label=label, path=path, confidence=confidence, taxonomy_id=IDS[label] if label else node
    )
    candidates = [
        image_pb2.Candidate(path=["garments", name], taxonomy_id=IDS[name], probability=probability)
        for name, probability in sorted(probabilities.items(), key=lambda one: -one[1])
    ]
    return image_pb2.ImageClassified(category=category, candidates=candidates)


def meant(probability: float = 0.6, *ids: str) -> Sequence[Claimed]:
    return [Claimed(ids, probability)]


def told(category: image_pb2.Category) -> tuple[str, str, str]:
    return (
        "/".join(category.path),
        category.taxonomy_id,
        image_pb2.Category.Origin.Name(category.origin).removeprefix("ORIGIN_"),
    )


@pytest.mark.parametrize(
    "photo", [seen("shirt", shirt=0.9), seen(node="aa", shirt=0.4, pants=0.5), seen(confidence=0.7)]
)
def test_where_claims_mean_nothing_the_photo_speaks(photo: image_pb2.ImageClassified) -> None:
    category = weighed(photo, [])
    photo.category.origin = PHOTO
    assert category == photo.category


def test_of_a_photo_of_shirt_and_trousers_the_claim_says_which_is_sold() -> None:
    photo = seen("shirt", 0.6, shirt=0.6, pants=0.35)
    assert told(weighed(photo, meant(0.6, PANTS))) == ("garments/pants", PANTS, "BOTH")
    assert weighed(photo, meant(0.6, PANTS)).label == "pants"
    assert told(weighed(photo, meant(0.6, SHIRT))) == ("garments/shirt", SHIRT, "BOTH")


def test_claims_that_agree_make_surer_and_others_less_sure() -> None:
    photo = seen("shirt", 0.6, shirt=0.6, pants=0.1)
    alone = weighed(photo, []).confidence
    assert weighed(photo, meant(0.6, SHIRT)).confidence > alone > weighed(photo, meant(0.6, "el-4")).confidence


def test_a_photo_that_is_sure_outweighs_a_claim_that_it_has_nothing_of() -> None:
    for claim in ("el-4-8-5", SHOES):
        assert told(weighed(seen("shirt", 0.95, shirt=0.95), meant(0.9, claim))) == ("garments/shirt", SHIRT, "PHOTO")


def test_what_the_photo_says_nothing_of_is_what_a_sure_claim_means() -> None:
    category = weighed(seen(confidence=0.99), meant(0.6, "aa-6-11"))
    assert told(category) == ("", "aa-6-11", "CLAIMS")
    assert category.label == "" and category.confidence == pytest.approx(0.6)


def test_an_unsure_claim_of_an_unknown_photo_leaves_it_unknown() -> None:
    category = weighed(seen(confidence=0.99), meant(0.4, "aa-6-11"))
    assert told(category) == ("", "", "PHOTO") and category.confidence == 0.99


def test_claims_that_part_meet_at_the_node_above_them() -> None:
    two = [Claimed(("aa-1-12-4",), 0.35), Claimed(("aa-1-12-8",), 0.35)]
    assert told(weighed(seen(), two)) == ("", "aa-1-12", "CLAIMS")


def test_below_a_node_that_is_seen_the_claim_says_which_leaf() -> None:
    photo = seen(node="aa", shirt=0.3, t_shirt=0.3, pants=0.3)
    category = weighed(photo, meant(0.6, T_SHIRT))
    assert told(category) == ("garments/t-shirt", T_SHIRT, "BOTH") and category.label == "t-shirt"


def test_a_finer_claim_refines_the_id_and_the_packs_leaf_stays() -> None:
    category = weighed(seen("shoes", 0.8, shoes=0.8), meant(0.7, "aa-8-3"))
    assert told(category) == ("garments/shoes", "aa-8-3", "BOTH") and category.label == "shoes"


def test_a_general_claim_does_not_coarsen_what_is_seen() -> None:
    category = weighed(seen("shirt", 0.6, shirt=0.6, pants=0.1, shoes=0.1), meant(0.8, "aa"))
    assert told(category) == ("garments/shirt", SHIRT, "BOTH")


def test_of_the_categories_of_one_name_the_photo_says_which() -> None:
    meaning = Meaning({"aa-1-2-9-7": 0.3, T_SHIRT: 0.3, "fb": 0.004})
    [shirts] = claimed(meaning)
    assert shirts.ids == ("aa-1-2-9-7", T_SHIRT) and shirts.probability == pytest.approx(0.54)
    assert told(weighed(seen(t_shirt=0.1), [shirts])) == ("garments/t-shirt", T_SHIRT, "BOTH")
    assert told(weighed(seen(), [shirts])) == ("", "aa-1-2-9-7", "CLAIMS")


def test_a_leaf_without_id_is_no_worse_for_a_claim_that_cannot_be_compared() -> None:
    photo = seen("house-brand", 0.6, house_brand=0.6)
    assert told(weighed(photo, meant(0.9, SHIRT))) == ("garments/house-brand", "", "PHOTO")


def test_results_from_before_there_were_candidates_are_weighed_by_what_was_seen() -> None:
    assert told(weighed(seen("shirt", 0.95), meant(0.6, "el-4"))) == ("garments/shirt", SHIRT, "PHOTO")
    assert told(weighed(seen("shirt", 0.5), meant(0.6, SHIRT))) == ("garments/shirt", SHIRT, "BOTH")
    assert told(weighed(seen(node="aa"), meant(0.6, PANTS))) == ("garments", PANTS, "BOTH")


@given(
    st.dictionaries(st.sampled_from(["shirt", "t_shirt", "pants", "shoes"]), st.floats(0.02, 0.25)),
    st.sampled_from(["", "shirt", "pants"]),
    st.lists(st.tuples(st.sampled_from([SHIRT, PANTS, "aa", "aa-8-3", "el-4-8-5"]), st.floats(0.01, 0.2)), max_size=5),
)
def test_whatever_is_weighed_the_answer_is_a_probability_and_its_path_begins_as_the_packs(
    leaves: dict[str, float], label: str, claims: list[tuple[str, float]]
) -> None:
    photo = seen(label, 0.3, "", **leaves)
    category = weighed(photo, [Claimed((one,), probability) for one, probability in claims])
    assert 0 <= category.confidence <= 1
    assert category.origin in (PHOTO, CLAIMS, BOTH)
    assert tuple(category.path[:1]) in ((), ("garments",))
    assert not category.label or category.path[-1] == category.label


def test_words_of_a_title_are_weighed_as_what_they_mean() -> None:
    photo = seen("t-shirt", 0.6, t_shirt=0.6, pants=0.3)
    titled = listing_pb2.Claims(title="Sahara yoga pants, black")
    assert told(category_of(photo, titled)) == ("garments/pants", PANTS, "BOTH")
    assert told(category_of(photo, listing_pb2.Claims(title="Sahara"))) == ("garments/t-shirt", T_SHIRT, "PHOTO")
