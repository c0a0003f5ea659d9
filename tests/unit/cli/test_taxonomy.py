"""`vitrine taxonomy`: categories by words, and what one of them is."""

import json

import pytest
from click.testing import CliRunner, Result

from cli.taxonomy import taxonomy
from shared.product_taxonomy import LANGUAGES


def called(*arguments: str) -> Result:
    return CliRunner().invoke(taxonomy, list(arguments))


def test_words_find_ids_with_their_paths() -> None:
    result = called("find", "t-shirt")
    assert result.exit_code == 0
    assert "aa-1-13-8" in result.output
    assert "Apparel & Accessories > Clothing > Clothing Tops > T-Shirts" in result.output


def test_words_of_one_language_are_answered_in_it() -> None:
    found = json.loads(called("find", "kopfhörer", "--language", "DE", "--limit", "1", "--json").output)
    assert [one["id"] for one in found] == ["el-2-2-7-1"]
    assert found[0]["path"].startswith("Elektronik > Audio > ")
    assert found[0]["path"].endswith(found[0]["name"])


def test_several_words_are_one_question() -> None:
    assert (
        called("find", "food", "dog", "--limit", "1", "--json").output
        == called("find", "dog food", "--limit", "1", "--json").output
    )


def test_nothing_found_says_so() -> None:
    result = called("find", "xyzzy")
    assert result.exit_code == 1
    assert "no category has any of these words" in result.output
    assert json.loads(called("find", "xyzzy", "--json").output) == []


def test_an_unknown_language_is_refused_with_those_that_there_are() -> None:
    result = called("find", "shoes", "--language", "sv")
    assert result.exit_code == 2
    assert all(repr(language.lower()) in result.output for language in LANGUAGES)


@pytest.mark.parametrize("spelled", ["aa-1-13", "AA-1-13", "gid://shopify/TaxonomyCategory/aa-1-13"])
def test_a_category_is_shown_with_its_path_names_and_children(spelled: str) -> None:
    lines = [line.split(maxsplit=2) for line in called("show", spelled).output.splitlines()]
    assert [line[1:] for line in lines if line[0] == "path"] == [
        ["aa", "Apparel & Accessories"],
        ["aa-1", "Clothing"],
        ["aa-1-13", "Clothing Tops"],
    ]
    assert [line[1] for line in lines if line[0] == "name"] == list(LANGUAGES)
    assert ["below", "aa-1-13-8", "T-Shirts"] in lines


def test_json_has_all_of_it() -> None:
    shown = json.loads(called("show", "aa-1-13-8", "--json").output)
    assert shown["id"] == "aa-1-13-8"
    assert [one["id"] for one in shown["path"]] == ["aa", "aa-1", "aa-1-13", "aa-1-13-8"]
    assert shown["names"]["fr"] == "T-shirts" and shown["names"].keys() == set(LANGUAGES)
    assert shown["children"] == []


@pytest.mark.parametrize(
    ("spelled", "said"),
    [
        ("aa-1-13-99", "there is no category aa-1-13-99; the nearest above it is aa-1-13 (Apparel & Accessories > "),
        ("zz-1", "there is no category zz-1\n"),
        ("hat", "'hat' is no id, such as aa-1-13-8; `vitrine taxonomy find` looks for words"),
    ],
)
def test_what_is_no_category_says_what_is_near(spelled: str, said: str) -> None:
    result = called("show", spelled)
    assert result.exit_code == 1
    assert said in result.output
