import pytest

from services.attributes.looks import NAMED, OFTEN_OF_METAL, may_be_of_metal, region_of
from shared.product_taxonomy import product_taxonomy
from shared.vision.regions import Region


@pytest.mark.parametrize(
    ("taxonomy_id", "region"),
    [
        ("aa-1-13-8", "upper"),  # T-shirts
        ("aa-1-10-2-5", "upper"),  # coats and jackets of some kind
        ("aa-1-10-3", "lower"),  # rain pants, among outerwear
        ("aa-1-10-5", "product"),  # snow suits, likewise
        ("aa-1-12", "lower"),
        ("aa-1-4", "product"),  # dresses
        ("aa-1", "product"),
        ("aa-8", "product"),  # shoes
        ("aa-1-130", "product"),  # no child of aa-1-13
        ("", "product"),
    ],
)
def test_a_garments_region_is_that_of_the_nearest_node_that_is_named(taxonomy_id: str, region: Region) -> None:
    assert region_of(taxonomy_id) == region


def test_a_watch_may_be_of_metal_and_what_is_unknown_is_not_judged_by_its_shine() -> None:
    assert [may_be_of_metal(one) for one in ("aa-6-11", "ha-15-2", "aa-1-13-8", "fb-2", "")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_each_id_exists_and_is_named_once() -> None:
    named = [*NAMED, *OFTEN_OF_METAL]
    assert len(named) == len(set(named))
    assert [one for one in named if product_taxonomy().get(one) is None] == []
