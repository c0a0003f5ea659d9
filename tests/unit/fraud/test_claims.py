import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.fraud.claims import AMBIGUOUS, MEANINGS, Kind, contradict, kinds_of_claim, kinds_of_path


@pytest.mark.parametrize(
    ("claim", "kind"),
    [
        ("T-Shirts", Kind.TOP),
        ("t shirt", Kind.TOP),
        ("Clothing > Men > T-Shirts", Kind.TOP),
        ("Men's Shoes", Kind.FOOTWEAR),
        ("Running shoes", Kind.FOOTWEAR),
        ("Dresses", Kind.DRESS),
        ("Handy", Kind.PHONE),
        ("smartphone", Kind.PHONE),
        ("手机", Kind.PHONE),
        ("Téléphone", Kind.PHONE),
        ("milk", Kind.PACKAGED_FOOD),
        ("Orange Juice", Kind.PACKAGED_FOOD),
        ("jus d'orange", Kind.PACKAGED_FOOD),
        ("Äpfel", Kind.FRUIT),
        ("Berries, fruits", Kind.FRUIT),
        ("Gemüse", Kind.VEGETABLE),
        ("Mütze", Kind.HEADWEAR),
    ],
)
def test_what_sellers_write_is_understood(claim: str, kind: Kind) -> None:
    assert kind in kinds_of_claim(claim)


@pytest.mark.parametrize(
    "claim", ["", " > ", "phone case", "Milk chocolate", "coffee mug", "shirt buttons", "shoe rack", "???", "for kids"]
)
def test_what_is_not_certainly_one_of_ours_means_nothing(claim: str) -> None:
    assert kinds_of_claim(claim) == frozenset()


def test_a_word_of_several_meanings_has_them_all() -> None:
    assert kinds_of_claim("Tee") == {Kind.TOP, Kind.PACKAGED_FOOD}
    assert kinds_of_claim("Apple") == {Kind.FRUIT, Kind.PHONE}
    assert all(len(MEANINGS[word]) > 1 for word in AMBIGUOUS)


@given(st.text())
def test_any_text_may_be_claimed(claim: str) -> None:
    assert kinds_of_claim(claim) <= frozenset(Kind)


@pytest.mark.parametrize(
    ("path", "kinds"),
    [
        (("garments", "t-shirt"), {Kind.TOP}),
        (("garments", "outwear"), {Kind.OUTERWEAR}),
        (("groceries", "Fruit", "Apple", "Royal-Gala"), {Kind.FRUIT}),
        (("groceries", "Packages", "Milk", "Arla-Standard-Milk"), {Kind.PACKAGED_FOOD}),
        (("groceries",), {Kind.FRUIT, Kind.VEGETABLE, Kind.PACKAGED_FOOD}),
        (("packages", "carton"), {Kind.PACKAGED_FOOD}),
        (("electronics", "phone"), {Kind.PHONE}),
        (("electronics", "toaster"), set()),
        ((), set()),
    ],
)
def test_a_seen_path_has_its_kinds_as_far_as_it_is_known(path: tuple[str, ...], kinds: set[Kind]) -> None:
    assert kinds_of_path(path) == kinds


def test_near_siblings_do_not_contradict_and_strangers_do() -> None:
    shirt, dress = kinds_of_claim("blouse"), kinds_of_path(("garments", "dress"))
    assert not contradict(shirt, kinds_of_path(("garments", "t-shirt")))
    assert not contradict(shirt, dress)
    assert contradict(shirt, kinds_of_path(("garments", "shoes")))
    assert contradict(shirt, kinds_of_path(("electronics", "phone")))
    assert contradict(kinds_of_claim("phone"), kinds_of_path(("garments",)))
    assert not contradict(kinds_of_claim("milk"), kinds_of_path(("packages", "carton")))


def test_nothing_contradicts_what_is_not_known() -> None:
    assert not contradict(frozenset(), kinds_of_path(("garments", "shoes")))
    assert not contradict(kinds_of_claim("phone"), frozenset())
