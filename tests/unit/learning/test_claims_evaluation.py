"""What is measured of claims is what happens to them; and it is as good as the documents say."""

from random import Random

import pytest

from learning.claims_evaluation import (
    EXACT,
    KIN,
    NEIGHBOUR,
    OUTCOMES,
    UNKNOWN,
    VERTICAL,
    WRONG,
    Claim,
    Pair,
    accused,
    accused_by,
    claims_of,
    drawn_claims,
    false_pairs,
    honest_pairs,
    outcome,
    shares,
    written_pairs,
)
from shared.product_taxonomy import LANGUAGES, product_taxonomy

SEEN = ("aa-1-13-8", "aa-8", "el-4-8-5", "fb-1-7")


@pytest.mark.parametrize(
    ("category", "field", "how"),
    [
        ("aa-8", "Schuhe", EXACT),
        ("aa-1-2-9-7", "T-Shirts", EXACT),
        ("aa-8-3", "Schuhe", KIN),
        ("aa", "Shoes", KIN),
        ("aa-1-13-1", "T-Shirts", NEIGHBOUR),
        ("aa-2-17", "Shoes", VERTICAL),
        ("el-4-8-5", "Shoes", WRONG),
        ("aa-8", "Zyntrix", UNKNOWN),
    ],
)
def test_what_is_understood_is_compared_with_what_was_meant(category: str, field: str, how: str) -> None:
    assert outcome(Claim(category, "de", "", field)) == how


def test_claims_are_the_same_whenever_they_are_drawn() -> None:
    assert list(drawn_claims(2, seed=1)) == list(drawn_claims(2, seed=1)) != list(drawn_claims(2, seed=2))
    assert {claim.language for claim in drawn_claims(1)} == set(LANGUAGES)
    fields = {claim.way: claim.field for claim in claims_of(product_taxonomy()["aa-8"], "en", Random(0))}
    assert (fields["path"][:7], fields["gid"]) == ("Apparel", "gid://shopify/TaxonomyCategory/aa-8")


def test_a_false_claim_goes_by_no_word_of_what_is_seen() -> None:
    pairs = list(false_pairs(["aa-8"], 2))
    assert pairs and all(not pair.claim.category.startswith("aa") for pair in pairs)


def test_shares_are_of_each_row() -> None:
    assert shares([("a", "x"), ("a", "y"), ("b", "y")], ["x", "y"]) == {
        "a": {"x": 0.5, "y": 0.5},
        "b": {"x": 0, "y": 1},
    }
    pairs = [(Pair(Claim("aa", language, "", ""), "aa"), is_so) for language, is_so in (("en", True), ("de", False))]
    assert accused_by(pairs, lambda pair: pair.claim.language) == {"en": 1, "de": 0, "all": 0.5}


def test_nearly_all_names_are_understood_whatever_sellers_do_to_them() -> None:
    found = shares((("all", outcome(claim)) for claim in drawn_claims(6)), OUTCOMES)["all"]
    assert found[EXACT] + found[KIN] + found[NEIGHBOUR] >= 0.93
    assert found[WRONG] <= 0.02


def test_hardly_any_honest_claim_is_accused() -> None:
    assert accused_by(accused(honest_pairs(SEEN, 1)), lambda _: "")["all"] <= 0.01
    assert accused_by(accused(written_pairs(SEEN)), lambda _: "")["all"] <= 0.05


def test_most_false_claims_are_accused() -> None:
    assert accused_by(accused(false_pairs(SEEN, 2)), lambda _: "")["all"] >= 0.75
