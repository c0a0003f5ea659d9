"""A claim is held against a seller only where nothing else may be meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.attributes.reading import brand_in
from services.fraud.claims import contradict, kinds_of_claim, lexicon, require_known_kinds
from shared.vision.pack import CategorySpec, PackUnusable
from tests.fakes_vision import BUILTIN, line

SEEN = {
    "t-shirt": ("garments", "t-shirt"),
    "dress": ("garments", "dress"),
    "skirt": ("garments", "skirt"),
    "shoes": ("garments", "shoes"),
    "hat": ("garments", "hat"),
    "pants": ("garments", "pants"),
    "outwear": ("garments", "outwear"),
    "garment": ("garments",),
    "fruit": ("groceries", "Fruit", "Apple"),
    "potato": ("groceries", "Vegetables", "Potato"),
    "carton": ("packages", "carton"),
    "juice": ("groceries", "Packages", "Juice"),
    "phone": ("electronics", "phone"),
}


def seen(name: str) -> frozenset[str]:
    return BUILTIN.meaning_of(SEEN[name]).kinds


@pytest.mark.parametrize(
    ("claim", "kind"),
    [
        ("T-Shirts", "top"),
        ("t shirt", "top"),
        ("Clothing > Men > T-Shirts", "top"),
        ("Men's Shoes", "footwear"),
        ("Men’s Shoes", "footwear"),
        ("Running shoes", "footwear"),
        ("Birkenstock shoes", "footwear"),
        ("Dresses", "dress"),
        ("Handy", "phone"),
        ("smartphone", "phone"),
        ("Smartphones", "phone"),
        ("手机", "phone"),
        ("Téléphone", "phone"),
        ("milk", "packaged food"),
        ("Orange Juice", "packaged food"),
        ("jus d'orange", "packaged food"),
        ("Äpfel", "fruit"),
        ("Berries, fruits", "fruit"),
        ("Gemüse", "vegetable"),
        ("Mütze", "headwear"),
        ("Pommes de terre", "vegetable"),
    ],
)
def test_what_sellers_write_is_understood(claim: str, kind: str) -> None:
    assert kind in kinds_of_claim(claim)


@pytest.mark.parametrize(
    "claim",
    [
        "",
        " > ",
        "???",
        "for kids",
        "phone case",
        "Milk chocolate",
        "coffee mug",
        "shirt buttons",
        "shoe rack",
        "gadget",
        "iPhone Hülle",
        "Handy Hülle",
        "Coque smartphone",
        "Funda móvil",
        "Custodia iPhone 13",
        "Étui téléphone",
        "Phone case banana",
        "Sac à main pomme",
        "Apple Watch",
        "Schuhe > Birkenstock",
        "Zara Kids",
        "Camisa polo manga larga",
        "Accessoires > Smartphone",
        "Shoes > Laces",
        "Toys > Phones",
        "Toy phone",
        "Beauty > Top coat",
        "Nail polish > Base coat",
        "Tarte aux pommes",
        "Baby mobile",
        "Brake shoes",
        "Doll dresses",
        "Body lotion",
        "Orange",
        "Peach",
        "Lime",
        "苹果手机壳",
        "Чехол для телефона",
        "Coques > iPhone",
        "Shoe polish",
        "Dog coat",
        "Rock music",
        "Boot trailer",
        "Puzzle > Fruit",
        "Kleid Schnittmuster",
    ],
)
def test_what_is_not_certainly_one_of_ours_means_nothing(claim: str) -> None:
    assert kinds_of_claim(claim) == frozenset()


@pytest.mark.parametrize(
    ("claim", "photo"),
    [
        ("Jus de pomme", "carton"),
        ("Jus de pomme", "fruit"),
        ("Zumo de limón", "carton"),
        ("Zumo de manzana", "juice"),
        ("Succo di mela", "carton"),
        ("Suco de laranja", "carton"),
        ("Sumo de limão", "carton"),
        ("Lait d'avoine", "carton"),
        ("Apfel Saft", "carton"),
        ("Juice > Apple", "carton"),
        ("Juice > Orange", "juice"),
        ("Drinks > Mango", "carton"),
        ("Tops & Skirts", "t-shirt"),
        ("Tops & Skirts", "skirt"),
        ("Shirts and dresses", "dress"),
        ("Hats, shoes", "hat"),
        ("Hats, shoes", "shoes"),
        ("Fashion > Mango", "t-shirt"),
        ("Fashion > Mango", "dress"),
        ("Mango", "dress"),
        ("Fashion > Apple", "t-shirt"),
        ("Electronics > Apple", "phone"),
        ("Apple", "phone"),
        ("Apple", "fruit"),
        ("Mode > Pomme", "t-shirt"),
        ("T-shirt Orange", "t-shirt"),
        ("T-Shirt Mango", "t-shirt"),
        ("Robe pomme", "dress"),
        ("Chapeau melon", "hat"),
        ("Melon hat", "hat"),
        ("Banana hat", "hat"),
        ("Peach dress", "dress"),
        ("Plum skirt", "skirt"),
        ("Lime shoes", "shoes"),
        ("Avocado sneakers", "shoes"),
        ("Tomato red trousers", "pants"),
        ("Orange iPhone", "phone"),
        ("Blackberry phone", "phone"),
        ("Blackberry", "phone"),
        ("Phones > Blackberry", "phone"),
        ("Clothing > Peach", "skirt"),
        ("Shoes > Banana", "shoes"),
        ("Dress shoes", "shoes"),
        ("Shirt dress", "dress"),
        ("Dress shirt", "t-shirt"),
        ("Polo > Shoes", "shoes"),
        ("Tee", "carton"),
        ("Apple Watch", "phone"),
        ("iPhone Hülle", "garment"),
        ("Zara Kids", "t-shirt"),
        ("Schuhe > Birkenstock", "t-shirt"),
        ("Camisa polo manga larga", "t-shirt"),
        ("Sac à main pomme", "garment"),
        ("Phone case banana", "phone"),
        ("Hose", "shoes"),
        ("Rock", "pants"),
        ("Clothing, Shoes & Accessories", "hat"),
        ("Home > Clothing > Tops", "t-shirt"),
        ("Pommes de terre", "potato"),
        ("Kleidung - Kleider", "dress"),
        ("Clothing: Shoes", "shoes"),
        ("Mens/Shoes/Boots", "shoes"),
        ("Pull", "outwear"),
        ("Sweat à capuche homme", "outwear"),
    ],
)
def test_nothing_is_held_against_a_claim_that_may_be_true(claim: str, photo: str) -> None:
    assert not contradict(kinds_of_claim(claim), seen(photo))


@pytest.mark.parametrize(
    ("claim", "photo"),
    [
        ("Smartphones", "shoes"),
        ("smartphone", "hat"),
        ("smartphone", "pants"),
        ("Unlocked smartphone 256 GB", "hat"),
        ("shoes", "phone"),
        ("Running shoes", "phone"),
        ("Shoes size 42", "phone"),
        ("dress", "carton"),
        ("Evening dress", "carton"),
        ("Peach dress", "phone"),
        ("T-shirt Orange", "phone"),
        ("Jus de pomme", "shoes"),
        ("Zumo de limón", "phone"),
        ("Juice > Apple", "t-shirt"),
        ("Fashion > Mango", "phone"),
        ("Tops & Skirts", "phone"),
        ("Tops & Skirts", "shoes"),
        ("Clothing > Men > T-Shirts", "shoes"),
        ("Clothing > T-Shirts", "phone"),
        ("Fashion > Women > Dresses", "shoes"),
        ("Sports & Outdoors > Running shoes", "phone"),
        ("Nike shoes", "carton"),
        ("Leather boots", "phone"),
        ("Samsung phone", "dress"),
        ("Clothing", "phone"),
        ("Mode", "carton"),
        ("Lebensmittel", "shoes"),
        ("iPhone 13", "t-shirt"),
        ("Handy", "dress"),
        ("Kleid", "phone"),
        ("Schuhe > Damen", "phone"),
        ("Pantalon homme", "phone"),
        ("Zapatos de mujer", "phone"),
        ("Chaussures de sport", "phone"),
        ("Peaches", "phone"),
        ("手机", "t-shirt"),
        ("连衣裙", "phone"),
        ("Молоко", "shoes"),
        ("Electronics > Smartphones", "hat"),
        ("Home > Electronics > Phones", "t-shirt"),
        ("Fruits et légumes", "phone"),
    ],
)
def test_what_is_certainly_false_still_contradicts(claim: str, photo: str) -> None:
    assert contradict(kinds_of_claim(claim), seen(photo))


def test_a_word_of_several_meanings_has_them_all() -> None:
    assert kinds_of_claim("Tee") == {"top", "packaged food"}
    assert kinds_of_claim("Apple") == {"fruit", "phone"}


def test_a_word_that_is_a_brand_too_may_mean_what_the_brand_makes() -> None:
    """Brands stand in the attributes' table, words in the claims': each homonym has to be in [also]."""
    domains = {"phones": "phones", "garments": "garments", "groceries": "groceries"}
    for phrase, kinds in lexicon().meanings.items():
        for brands, domain in domains.items():
            found = brand_in([line(phrase)], [brands], largest_print=False)
            if found is not None and found.value.casefold() == phrase and phrase not in ("iphone",):
                assert domain in {lexicon().domains[kind] for kind in kinds}, (phrase, brands)


@given(st.text())
def test_any_text_may_be_claimed(claim: str) -> None:
    assert kinds_of_claim(claim) <= lexicon().domains.keys()


def test_near_siblings_do_not_contradict_and_strangers_do() -> None:
    shirt = kinds_of_claim("blouse")
    assert not contradict(shirt, seen("t-shirt"))
    assert not contradict(shirt, seen("dress"))
    assert contradict(shirt, seen("shoes"))
    assert contradict(shirt, seen("phone"))
    assert contradict(kinds_of_claim("phone"), seen("garment"))
    assert not contradict(kinds_of_claim("milk"), seen("carton"))


def test_nothing_contradicts_what_is_not_known() -> None:
    assert not contradict(frozenset(), seen("shoes"))
    assert not contradict(kinds_of_claim("phone"), frozenset())


def test_a_pack_whose_kinds_no_claim_is_compared_with_is_refused() -> None:
    require_known_kinds("toys@1", BUILTIN.categories)
    with pytest.raises(PackUnusable, match=r"toys@1: categories: toys/kite: unknown kinds toy; claims.toml has top, "):
        require_known_kinds("toys@1", [CategorySpec(path=("toys", "kite"), kinds=("toy",))])
