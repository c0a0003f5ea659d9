"""The taxonomy's tree, its ids as people write them, and finding categories in any of the languages."""

import subprocess
import sys

import pytest

from shared.product_taxonomy import LANGUAGES, language_of, product_taxonomy, spelled_id
from shared.product_taxonomy.taxonomy import DATA
from tests.conftest import PROJECT

TAXONOMY = product_taxonomy()
T_SHIRTS = "aa-1-13-8"


def found(words: str, language: str | None = None) -> list[str]:
    return [category.id for category in TAXONOMY.find(words, language)]


def test_every_category_has_a_parent_and_a_name_in_each_language() -> None:
    assert len(TAXONOMY) == 10281
    for category in TAXONOMY:
        assert len(category.names) == len(LANGUAGES)
        assert all(name == name.strip() != "" for name in category.names), category
        assert category in (TAXONOMY.children(category.id.rpartition("-")[0]))


def test_a_path_leads_from_the_vertical_down() -> None:
    assert [category.name() for category in TAXONOMY.path(T_SHIRTS)] == [
        "Apparel & Accessories",
        "Clothing",
        "Clothing Tops",
        "T-Shirts",
    ]
    parent = TAXONOMY.parent(T_SHIRTS)
    assert parent is not None and parent.name("de") == "Bekleidungsoberteile"
    assert TAXONOMY.parent("aa") is None
    assert {category.id for category in TAXONOMY.children("")} > {"aa", "el", "hg", "fb"}


def test_below_is_by_whole_parts_of_the_id() -> None:
    assert TAXONOMY.is_at_or_below(T_SHIRTS, "aa-1") and TAXONOMY.is_at_or_below(T_SHIRTS, T_SHIRTS)
    assert not TAXONOMY.is_at_or_below("aa-1-13", "aa-1-1")
    assert not TAXONOMY.is_at_or_below("aa-1", T_SHIRTS)
    assert TAXONOMY.is_at_or_below(T_SHIRTS, "")


@pytest.mark.parametrize(
    ("one", "other", "edges"),
    [(T_SHIRTS, T_SHIRTS, 0), (T_SHIRTS, "aa-1-13", 1), (T_SHIRTS, "aa-1-13-7", 2), ("aa", "el", 2), ("aa-1", "el", 3)],
)
def test_distance_counts_edges_through_a_common_root(one: str, other: str, edges: int) -> None:
    assert TAXONOMY.distance(one, other) == TAXONOMY.distance(other, one) == edges


@pytest.mark.parametrize(
    "text",
    [
        "aa-1-13-8",
        " AA-1-13-8\n",
        "gid://shopify/TaxonomyCategory/aa-1-13-8",
        "GID://Shopify/taxonomycategory/AA-1-13-8",
    ],
)
def test_an_id_is_read_however_it_is_written(text: str) -> None:
    assert TAXONOMY.parse(text) == T_SHIRTS


@pytest.mark.parametrize(
    "text", ["", "aa-", "aa-1-999", "t-shirt", "zz", "gid://shopify/Product/aa-1", "aa-1 aa-2", "aa-1-１"]
)
def test_other_text_is_no_id(text: str) -> None:
    assert TAXONOMY.parse(text) is None


def test_of_an_id_that_does_not_exist_the_nearest_is_known() -> None:
    nearest = TAXONOMY.nearest("aa-1-13-999-2")
    assert nearest is not None and nearest.id == "aa-1-13"
    assert TAXONOMY.nearest("zz-1") is None
    assert spelled_id("AA-1-999") == "aa-1-999"


def test_what_is_no_category_raises() -> None:
    for ask in (TAXONOMY.path, TAXONOMY.parent, TAXONOMY.children, lambda unknown: TAXONOMY.distance("aa", unknown)):
        with pytest.raises(KeyError):
            ask("aa-999")


@pytest.mark.parametrize(
    ("words", "language", "first"),
    [
        ("T-Shirts", None, T_SHIRTS),
        ("tshirt", None, T_SHIRTS),
        ("t shirt", "en", T_SHIRTS),
        ("SHOE", "en", "aa-8"),
        ("schuh", "de", "aa-8"),
        ("Schuhe", None, "aa-8"),
        ("kopfhorer", "de", "el-2-2-7-1"),
        ("scarpa", "it", "aa-8"),
        ("vestido", "es", "aa-1-4"),
        ("robes", "fr", "aa-1-4"),
        ("sukienka", "pl", "aa-1-4"),
        ("kjole", "da", "aa-1-4"),
        ("jurk", "nl", "aa-1-4"),
        ("mekot", "fi", "aa-1-4"),
        ("vestido", "pt-BR", "aa-1-4"),
        ("连衣裙", "zh-CN", "aa-1-4"),
        ("Tシャツ", "ja", T_SHIRTS),
        ("티셔츠", "ko", T_SHIRTS),
        ("mugs kitchen", "en", "hg-11-10-5-5"),
        ("phones mobile", "en", "el-4-8-5"),
        ("lapt", "en", "el-6-6"),
    ],
)
def test_what_a_person_types_finds_the_category(words: str, language: str | None, first: str) -> None:
    assert found(words, language)[0] == first


def test_a_whole_name_comes_before_a_name_that_contains_it_and_that_before_a_path() -> None:
    ids = [category.id for category in TAXONOMY.find("dog food", "en", limit=1000)]
    assert ids[0] == "ap-2-3-3"  # Dog Food
    assert ids.index("ap-2-3-3-1") < ids.index("bi-8-11")  # Non-Prescription Dog Food, Food Service > Hot Dog Rollers


def test_where_nothing_has_every_word_those_with_the_most_are_found() -> None:
    assert "aa-8" in found("flying shoes", "en")
    assert found("xyzzy", None) == found("", None) == found("?!", None) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_name_finds_its_category(language: str) -> None:
    for category in list(TAXONOMY)[:: 10281 // 8]:
        same = {one.id for one in TAXONOMY if one.name(language).casefold() == category.name(language).casefold()}
        assert same <= {one.id for one in TAXONOMY.find(category.name(language), language, limit=200)}, category


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("de", "de"),
        ("de-AT", "de"),
        ("DE_at", "de"),
        ("zh-TW", "zh-CN"),
        ("zh-Hant-HK", "zh-CN"),
        ("pt", "pt-BR"),
        ("sv, da;q=0.5", "da"),
        ("fr;q=0.2, nl ; q=0.9, en;q=0.1", "nl"),
        ("fr, nl", "fr"),
        ("de;q=0, ja;q=0.1", "ja"),
        ("de;q=very, ja;q=0.1", "ja"),
        ("", "en"),
        ("*", "en"),
        (";;,=,q=1", "en"),
        ("sv", "en"),
    ],
)
def test_the_best_language_that_there_is(accepted: str, language: str) -> None:
    assert language_of(accepted) == language


def test_nothing_is_read_before_it_is_asked_for() -> None:
    """A process that asks nothing of it pays nothing."""
    asks = "import shared.product_taxonomy as t; print(t.product_taxonomy.cache_info().currsize)"
    done = subprocess.run([sys.executable, "-c", asks], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"


def test_whose_it_is_stands_beside_it() -> None:
    notices = DATA.with_name("LICENSES.md").read_text("utf-8")
    assert "Copyright (c) Shopify" in notices and "Copyright (c) Fábio Ferreira" in notices
    assert "Permission is hereby granted" in notices
