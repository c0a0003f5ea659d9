"""Photos come from folders that name their products as they like, and stay on their side of the split."""

from dataclasses import replace
from pathlib import Path

import pytest

from learning.sources import (
    CLOTHING,
    GROCERY,
    PhotosUnusable,
    Sample,
    category_of,
    read_samples,
    sources_of,
    split_of,
)
from learning.training import held_out, taught_taxonomy
from tests.fakes_vision import labelled_photos

SHOES, HAT = ("garments", "shoes"), ("garments", "hat")


def source(folder: Path, *rows: str, columns: str = "image,label,group") -> Path:
    """A shop's own folder."""
    folder.mkdir(parents=True)
    (folder / "labels.csv").write_text("\n".join([columns, *rows]), encoding="utf-8")
    return folder


def categories(folder: Path) -> list[tuple[str, ...]]:
    return [sample.category for sample in read_samples(folder)]


def test_the_first_sources_come_first_and_keep_their_splits(tmp_path: Path) -> None:
    folder = labelled_photos(tmp_path / "photos", each=3)
    source(folder / "attic", "a.jpg,garments/shoes,1")
    samples = read_samples(folder)
    assert sources_of(samples) == [CLOTHING, GROCERY, "attic"]
    of_clothing = [sample for sample in samples if sample.source == CLOTHING]
    assert [(one.category, one.split, one.group, one.kids) for one in of_clothing][-2:] == [
        (HAT, "val", "sender 0", True),
        (("garments", "shirt"), "val", "sender 0", False),
    ]
    assert sum(one.split == "val" for one in of_clothing) == 2
    assert all(isinstance(one.photo, Path) and one.photo.is_file() for one in of_clothing)


def test_a_shops_own_folder_names_nodes_or_ids_or_no_product(tmp_path: Path) -> None:
    shop = source(
        tmp_path / "shop",
        "a.jpg,garments/shoes,1",
        "b.jpg,garments,2",
        "c.jpg,aa-8,3",
        "d.jpg,gid://shopify/TaxonomyCategory/aa-8-3,4",
        "e.jpg,-,5",
    )
    # The shoes' id is that of the leaf; sneakers are the nearest that the tree has above them.
    assert categories(tmp_path) == [SHOES, ("garments",), SHOES, SHOES, ()]
    assert read_samples(shop) == read_samples(tmp_path)
    assert sources_of(read_samples(shop)) == ["shop"]


def test_an_id_of_several_nodes_is_the_node_above_them_all() -> None:
    assert category_of("shop", "fb-2-10-7-3") == ("groceries", "Fruit", "Avocado")
    assert category_of("shop", "aa-1-13") == ("garments",)  # of longsleeve and top


def test_a_label_means_what_the_table_lists_for_its_folder(tmp_path: Path) -> None:
    source(tmp_path / "catalogue", "a.jpg,Hoodies & Sweatshirts,1")
    source(tmp_path / "objects", "b.jpg,clutter/non-product,clutter/non-product")
    assert categories(tmp_path) == [("garments", "hoodie"), ()]


@pytest.mark.parametrize("label", ["Hoodies & Sweatshirts", "garments/spacesuit", "zz-1", ""])
def test_a_label_that_means_nothing_is_told_with_its_source(tmp_path: Path, label: str) -> None:
    source(tmp_path / "shop", f"a.jpg,{label},1")
    with pytest.raises(PhotosUnusable, match=f"shop: {label!r} is no label"):
        read_samples(tmp_path)


def test_photos_are_beside_the_labels_or_in_a_folder(tmp_path: Path) -> None:
    shop = source(tmp_path / "shop", "a.jpg,garments/hat,1", "b.jpg,garments/hat,1")
    (shop / "images").mkdir()
    for name in ("a.jpg", "images/b.jpg"):
        (shop / name).write_bytes(b"photo")
    assert [sample.photo for sample in read_samples(shop)] == [shop / "a.jpg", shop / "images" / "b.jpg"]


def test_where_there_is_no_split_whole_groups_are_in_one_and_a_fifth_is_val(tmp_path: Path) -> None:
    rows = [f"{group}-{number}.jpg,garments/hat,product {group}" for group in range(200) for number in range(3)]
    samples = read_samples(source(tmp_path / "shop", *rows))
    for group in {sample.group for sample in samples}:
        assert len({sample.split for sample in samples if sample.group == group}) == 1
    assert 0.12 < sum(sample.split == "val" for sample in samples) / len(samples) < 0.28
    assert samples == read_samples(tmp_path / "shop")


@pytest.mark.parametrize("columns", ["image,label,group", "image,label"])
def test_a_group_that_is_the_label_or_absent_does_not_hold_photos_together(tmp_path: Path, columns: str) -> None:
    rows = [f"{number}.jpg,garments/hat" + ",garments/hat" * (columns.count(",") - 1) for number in range(60)]
    samples = read_samples(source(tmp_path / "shop", *rows, columns=columns))
    assert len({sample.group for sample in samples}) == 60
    assert {sample.split for sample in samples} == {"train", "val"}


def test_a_source_may_say_its_split(tmp_path: Path) -> None:
    rows = [f"{number}.jpg,garments/hat,val" for number in range(20)]
    assert {one.split for one in read_samples(source(tmp_path / "shop", *rows, columns="image,label,split"))} == {"val"}
    source(tmp_path / "other", "a.jpg,garments/hat,test", columns="image,label,split")
    with pytest.raises(PhotosUnusable, match=r"a\.jpg is of the split 'test'"):
        read_samples(tmp_path / "other")


def test_a_groups_split_is_the_same_everywhere() -> None:
    assert [split_of(f"product {n}") for n in (2, 3, 4)] == [split_of(f"product {n}") for n in (2, 3, 4)]
    assert {split_of(f"product {n}") for n in range(40)} == {"train", "val"}


@pytest.mark.parametrize("there", [(), ("shop",), ("shop", "notes")])
def test_a_folder_without_sources_says_what_was_looked_for(tmp_path: Path, there: tuple[str, ...]) -> None:
    for name in there:
        (tmp_path / name).mkdir()
    with pytest.raises(PhotosUnusable, match=r"clothing/labels\.csv, grocery/classes\.csv, nor any .* labels\.csv"):
        read_samples(tmp_path)


def test_a_labels_file_without_its_columns_is_told(tmp_path: Path) -> None:
    source(tmp_path / "shop", "a.jpg,garments/hat", columns="photo,label")
    with pytest.raises(PhotosUnusable, match=r"shop is not laid out .*'image'"):
        read_samples(tmp_path)


def labelled(category: tuple[str, ...], number: int) -> Sample:
    return Sample(b"", category, "train", group=f"{category} {number}")


def test_what_is_no_product_or_says_no_more_than_a_node_above_teaches_no_leaf() -> None:
    kinds = (HAT, SHOES, ("garments",), ())
    samples = [labelled(kind, number) for kind in kinds for number in range(32)]
    assert taught_taxonomy(samples).leaves == (HAT, SHOES)
    held = held_out(samples)
    assert held[:64].any() and not held[64:96].any()
    assert held[96:].any()  # how sure it is that something is no product has to be honest too


def test_each_source_has_photos_held_out_whatever_others_have() -> None:
    large = [labelled(HAT, number) for number in range(320)]
    small = [replace(labelled(SHOES, number), source="attic") for number in range(16)]
    held = held_out([*large, *small])
    assert held[:320].sum() == 20 and held[320:].sum() == 1
