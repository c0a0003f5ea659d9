from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.attributes.reading import (
    ReadAttribute,
    Row,
    attributes_in,
    brand_in,
    edits,
    folded,
    memory_in,
    rows_of,
    size_in,
    units_in,
    volume_in,
    weight_in,
)
from services.attributes.text import Line
from shared.errors import Unusable
from tests.fakes_vision import BUILTIN, line

CARTON = BUILTIN.meaning_of(("packages", "carton"))
PHONE = BUILTIN.meaning_of(("electronics", "phone"))
GARMENT = replace(BUILTIN.meaning_of(("garments", "t-shirt")), attributes=("brand", "size"))
BRANDS_ON = {
    "electronics": PHONE,
    "packages": CARTON,
    "garments": GARMENT,
    "groceries": BUILTIN.meaning_of(("groceries", "Packages")),
}


def brand_on(lines: list[Line], domain: str) -> ReadAttribute | None:
    meaning = BRANDS_ON[domain]
    return brand_in(lines, meaning.brands, meaning.largest_print_is_brand)


def rows(*texts: str) -> list[Row]:
    return [Row(text, 1.0, 0.1) for text in texts]


def stated(attribute: ReadAttribute | None) -> tuple[str, str] | None:
    return None if attribute is None else (attribute.value, attribute.unit)


@pytest.mark.parametrize(
    ("text", "volume"),
    [
        ("1 L", ("1", "l")),
        ("1L", ("1", "l")),
        ("1,5 L", ("1.5", "l")),
        ("1.5l", ("1.5", "l")),
        ("0,75 Liter", ("750", "ml")),
        ("33 cl", ("330", "ml")),
        ("2 dl", ("200", "ml")),
        ("500ml", ("500", "ml")),
        ("500 ml e", ("500", "ml")),
        ("500mle", ("500", "ml")),
        ("1.000 ml", ("1", "l")),
        ("1000ML", ("1", "l")),
        ("6 x 330 ml", ("330", "ml")),
        ("250 毫升", ("250", "ml")),
        ("1 升", ("1", "l")),
        ("0.5 л", ("500", "ml")),
        ("5OO ml", ("500", "ml")),
        ("l,5 l", ("1.5", "l")),
        ("NET 946 ML (1 QT)", ("946", "ml")),
    ],
)
def test_volumes_are_read_in_many_spellings(text: str, volume: tuple[str, str]) -> None:
    assert stated(volume_in(rows(text))) == volume


@pytest.mark.parametrize(
    "text",
    ["1,5% fat", "1.5 %", "per 100 ml", "pro 100ml", "/100 ml", "500 mg", "5 large", "L", "2 ml", "99 l", "12 lbs"],
)
def test_what_is_no_volume_of_a_package_is_not_read_as_one(text: str) -> None:
    assert volume_in(rows(text)) is None


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("375g", ("375", "g")),
        ("1 kg", ("1", "kg")),
        ("1.000 g", ("1", "kg")),
        ("0,5 kg", ("500", "g")),
        ("500 克", ("500", "g")),
    ],
)
def test_weights_are_read(text: str, weight: tuple[str, str]) -> None:
    assert stated(weight_in(rows(text))) == weight


@given(st.integers(5, 9_999), st.sampled_from(["ml", " ml", "ML", " мл"]))
def test_every_plausible_volume_in_ml_comes_back_as_it_was_printed(amount: int, unit: str) -> None:
    attribute = volume_in(rows(f"{amount}{unit}"))
    assert attribute is not None
    assert Decimal(attribute.value) * (1000 if attribute.unit == "l" else 1) == amount
    assert (attribute.unit == "l") == (amount >= 1000)


@given(st.decimals("0.05", "19.99", places=2), st.sampled_from(".,"), st.sampled_from(["l", " L", " Liter", " litres"]))
def test_decimal_signs_of_all_languages_mean_the_same(amount: Decimal, sign: str, unit: str) -> None:
    attribute = volume_in(rows(f"{amount}".replace(".", sign) + unit))
    assert attribute is not None
    assert Decimal(attribute.value) * (1000 if attribute.unit == "l" else 1) == amount * 1000


@given(st.lists(st.text(max_size=30), max_size=6))
def test_no_text_breaks_the_reading(texts: list[str]) -> None:
    lines = [line(text, top=0.15 * i) for i, text in enumerate(texts)]
    for meaning in (CARTON, PHONE, GARMENT):
        every = replace(meaning, attributes=("brand", "size", "volume", "weight", "memory"))
        for attribute in attributes_in(lines, every):
            assert 0 < attribute.confidence <= 1
            assert attribute.value


@pytest.mark.parametrize(
    ("text", "memory"),
    [
        ("128 GB", ("128", "GB")),
        ("128GB", ("128", "GB")),
        ("1 TB", ("1", "TB")),
        ("1024 GB", ("1", "TB")),
        ("256 Go", ("256", "GB")),
        ("8GB RAM 256GB", ("256", "GB")),
        ("8/256 GB", ("256", "GB")),
        ("12GB+512GB", ("512", "GB")),
        ("RAM: 8 GB", None),
        ("Storage 64 GB", ("64", "GB")),
        ("microSD up to 1 TB", None),
        ("100 GB", None),
        ("5000 mAh", None),
        ("8 GB", None),
    ],
)
def test_a_phones_storage_is_told_from_its_ram(text: str, memory: tuple[str, str] | None) -> None:
    assert stated(memory_in(rows(text))) == memory


@given(st.sampled_from([16, 32, 64, 128, 256, 512]), st.sampled_from(["GB", " GB", "gb", "G8", " Go"]))
def test_every_storage_size_comes_back(amount: int, unit: str) -> None:
    assert stated(memory_in(rows(f"Galaxy {amount}{unit}"))) == (str(amount), "GB")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("M", ("M", "")),
        ("XL", ("XL", "")),
        ("2XL", ("XXL", "")),
        ("Size S", ("S", "")),
        ("Größe 40", ("40", "")),
        ("Gr. M", ("M", "")),
        ("EU 38", ("38", "EU")),
        ("EUR 42,5", ("42.5", "EU")),
        ("UK 8", ("8", "UK")),
        ("W32 L34", ("W32 L34", "")),
        ("38", None),
        ("Summer", None),
        ("100% cotton", None),
        ("EU 2016", None),
    ],
)
def test_sizes_of_garments_are_read_from_their_tags(text: str, size: tuple[str, str] | None) -> None:
    assert stated(size_in(rows(text))) == size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("Size M", ("M", "")),
        ("SIZE: XL", ("XL", "")),
        ("T-Shirt, Size L", ("L", "")),
        ("Size 4 (9-14 kg)", None),
        ("Size 4", ("4", "")),
        ("Gr. 42", ("42", "")),
        ("Größe 110", ("110", "")),
        ("Taille 38,5", ("38.5", "")),
        ("EU 42", ("42", "EU")),
        ("EU 42 / UK 8 / US 9", ("42", "EU")),
        ("Men's shoes EU 42,5 US 9", ("42.5", "EU")),
    ],
)
def test_a_cartons_size_is_read_where_a_word_or_a_system_says_so(text: str, size: tuple[str, str] | None) -> None:
    assert [stated_of(a) for a in attributes_in([line(text)], replace(CARTON, attributes=("size",)))] == (
        [size] if size else []
    )


@pytest.mark.parametrize(
    "text",
    [
        *("1 L", "1L", "L", "M", "XL", "42", "600 g", "600 gr. 42", "gr. 500", "GR. 50", "Gr. 500 g", "W 30 x L 40"),
        *("Serving size 30 g", "Serving size 2", "Size 1 L", "size 250 ml", "Pack size: 6", "Family size", "6 x L"),
        *("Sachet de 20", "boîte de 40", "EUR 42", "US 12 fl oz", "UK 8 pack", "EU 2016", "Bahnhofstr. 12", "DE 40"),
    ],
)
def test_quantities_on_a_carton_are_no_sizes(text: str) -> None:
    assert attributes_in([line(text)], replace(CARTON, attributes=("size",))) == []


def stated_of(attribute: ReadAttribute) -> tuple[str, str]:
    return attribute.value, attribute.unit


def test_a_single_letter_is_less_certain_than_a_size_that_says_so() -> None:
    alone, said = size_in(rows("M")), size_in(rows("Size M"))
    assert alone is not None
    assert said is not None
    assert alone.confidence < said.confidence


@pytest.mark.parametrize(
    ("text", "domain", "brand"),
    [
        ("SAMSUNG", "electronics", "Samsung"),
        ("SAMSUNC", "electronics", "Samsung"),
        ("Xia0mi", "electronics", "Xiaomi"),
        ("iPhone 15", "electronics", "Apple"),
        ("Made by LG Electronics", "electronics", "LG"),
        ("GOD MORGON", "groceries", "God Morgon"),
        ("Oat1y", "groceries", "Oatly"),
        ("蒙牛", "groceries", "蒙牛"),
        ("LEVI'S", "garments", "Levi's"),
        ("TROPlCANA", "packages", "Tropicana"),
    ],
)
def test_brands_are_known_through_slips_of_the_reader(text: str, domain: str, brand: str) -> None:
    found = brand_on([line(text)], domain)
    assert found is not None
    assert found.value == brand


@pytest.mark.parametrize(
    ("text", "domain"),
    [("apple", "groceries"), ("Whole Milk", "packages"), ("About phone", "electronics"), ("SUMMER VIBES", "garments")],
)
def test_common_words_are_no_brands(text: str, domain: str) -> None:
    assert brand_on([line(text)], domain) is None


def test_a_brand_in_two_lines_is_one() -> None:
    found = brand_on([line("GOD", top=0.1), line("MORGON", top=0.22)], "groceries")
    assert found is not None
    assert found.value == "God Morgon"


def test_an_unknown_brand_stands_out_by_its_size_but_is_less_certain() -> None:
    lines = [line("Dunmere", top=0.1, height=0.12), line("Oat Drink", top=0.4, height=0.08), line("1L", top=0.6)]
    unknown, known = brand_on(lines, "packages"), brand_on([line("Oatly", height=0.12)], "packages")
    assert unknown is not None
    assert known is not None
    assert unknown.value == "Dunmere"
    assert unknown.confidence < known.confidence


def test_a_brand_named_in_a_table_is_read_across_the_gap() -> None:
    lines = [line("Brand", left=0.1, height=0.03), line("Velora", left=0.7, height=0.03)]
    found = brand_on(lines, "electronics")
    assert found is not None
    assert found.value == "Velora"


def test_a_number_and_its_unit_found_apart_belong_together() -> None:
    lines = [line("ml", left=0.3, height=0.08), line("500", left=0.15, height=0.08)]
    assert stated(volume_in(rows_of(lines))) == ("500", "ml")


def test_of_several_quantities_the_largest_print_counts_and_doubt_remains() -> None:
    two = [Row("1 L", 1.0, 0.2), Row("250 ml glass", 1.0, 0.1)]
    alone, among = volume_in(two[:1]), volume_in(two)
    assert alone is not None
    assert among is not None
    assert stated(among) == ("1", "l")
    assert among.confidence < alone.confidence


def test_each_category_is_asked_only_for_what_it_can_have() -> None:
    lines = [line("XL", top=0.1), line("128 GB", top=0.3), line("1 L", top=0.5)]
    assert [a.name for a in attributes_in(lines, PHONE)] == ["memory"]
    assert [a.name for a in attributes_in(lines, replace(CARTON, attributes=("volume", "weight")))] == ["volume"]
    assert [a.name for a in attributes_in(lines, replace(GARMENT, attributes=("size",)))] == ["size"]
    assert attributes_in(lines, BUILTIN.meaning_of(())) == []


@given(st.text(max_size=12), st.text(max_size=12))
def test_edits_are_a_distance(one: str, other: str) -> None:
    assert edits(one, other) == edits(other, one)
    assert (edits(one, other) == 0) == (one == other)
    assert edits(one, other) <= max(len(one), len(other))


@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    assert folded(folded(text)) == folded(text)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ('[volume]\n1 = ["ml"]', r"\[weight\] is missing"),
        ('[volume]\n1 = ["ml"]\n10 = ["ml"]\n[weight]\n1 = ["g"]', "twice"),
        ('[volume]\n1 = ["ML"]\n[weight]\n1 = ["g"]', "lower case"),
        ('[volume]\none = ["ml"]', "units.toml"),
        ("[volume", "units.toml"),
        ("volume = 1", "units.toml"),
        ('[volume]\n1 = "ml"\n[weight]\n1 = ["g"]', "no list"),
    ],
)
def test_a_table_that_is_none_of_units_is_refused(table: str, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        units_in(table)
