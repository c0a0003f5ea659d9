"""A whole run on photos drawn for it: what it needs, what it leaves behind, and that the same seed gives the same."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from cli.__main__ import main
from learning.regions import Recipe, found_by, measured, more_of, train_regions, write_regions
from learning.scenes import WORN_ABOVE, Scene, read_catalogue, recoloured
from learning.sources import PhotosUnusable
from shared.photos import Pixels
from shared.vision.regions import GRID, REGIONS, SPEC, WEIGHTS, RegionNetwork, load_regions, read_spec
from tests.fakes_vision import jpeg, labelled_photos, scenery

QUICK = Recipe(first_steps=1, steps=2, batch=2, garments=2, groceries=2)
DYES = {"Red": (180, 30, 40), "Blue": (40, 60, 190)}


def wearing(dye: tuple[int, int, int], shift: int) -> Pixels:
    picture = np.full((160, 120, 3), 255, np.uint8)
    picture[10:40, 45:75] = (205, 160, 130)
    picture[40:110, 30 + shift : 90 + shift] = dye
    picture[110:160, 35:85] = (60, 60, 70)
    return picture


def photos(folder: Path, products: int) -> Path:
    """The training photos' layout: each product in two colours and, of the first colour, from nearby."""
    labelled_photos(folder)
    rows = []
    (folder / "catalogue" / "images").mkdir(parents=True)
    for number in range(products):
        details = [("Red", "detail", wearing(DYES["Red"], number % 20)[50:100, 40:80])]
        shown = [(name, name, wearing(dye, number % 20)) for name, dye in DYES.items()]
        for colour, what, picture in [*shown, *details]:
            name = f"{number}-{what}.jpg"
            large = cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
            (folder / "catalogue" / "images" / name).write_bytes(jpeg(np.asarray(large, np.uint8), 95))
            rows.append({"image": name, "label": "Tees", "color": colour, "group": f"t{number}"})
    write_rows(folder / "catalogue" / "labels.csv", rows)
    (folder / "objects" / "images").mkdir(parents=True)
    (folder / "objects" / "images" / "c.jpg").write_bytes(jpeg(scenery(1, 90, 120)))
    write_rows(folder / "objects" / "labels.csv", [{"image": "c.jpg", "label": "clutter", "group": "c"}])
    return folder


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


class Whole(RegionNetwork):
    """Finds the product everywhere."""

    def maps(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.full((len(pictures), len(REGIONS), 8, 8), 3.0)


def test_a_run_leaves_weights_that_load_and_says_what_it_learned_from(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 12)
    steps: list[tuple[int, int]] = []
    learned = train_regions(folder, QUICK, lambda done, of, _loss: steps.append((done, of)))
    assert steps == [(1, 1), (1, 2), (2, 2)]
    held = sum(photo.is_held for photo in read_catalogue(folder)) // 3
    assert (learned.photos["held out"], learned.photos["recoloured"]) == (2 * held, 2 * (12 - held))
    assert 0 <= learned.measured["product_iou"] <= 1
    write_regions(tmp_path / "to", learned, QUICK)
    spec = read_spec(tmp_path / "to")
    assert spec.run["steps"] == "2"
    again = load_regions(tmp_path / "to" / WEIGHTS, spec.sha256)
    assert np.allclose(found_by(again, scenery(1)), found_by(learned.network, scenery(1)), atol=0.05)


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    folder = photos(tmp_path, 8)
    one, other = (train_regions(folder, QUICK, lambda *_: None).network.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_detail_teaches_where_it_has_the_products_colour_and_no_photo_that_is_held_out_does(tmp_path: Path) -> None:
    catalogue = read_catalogue(photos(tmp_path, 2))
    known, network = list(recoloured(catalogue)), Whole().eval()
    found = list(more_of(catalogue, known, network))
    assert len(found) == 2
    assert all(scene.worn == WORN_ABOVE and scene.product.mean() > 0.9 for scene in found)
    others = [(photo, Scene(wearing((30, 140, 60), 0), wearing((0, 0, 0), 0)[:, :, 0] == 0, scene.figure, scene.worn))
              for photo, scene in known]  # fmt: skip
    assert list(more_of(catalogue, others, network)) == []


def test_overlap_is_what_is_both_of_what_is_either() -> None:
    product = np.zeros((64, 64), np.bool_)
    product[:16] = True
    scene = Scene(scenery(1, 64, 64), product, product, WORN_ABOVE)
    assert measured(Whole().eval(), [scene])["product_iou"] == pytest.approx(0.25)
    assert found_by(Whole().eval(), scene.picture).shape == (len(REGIONS), GRID, GRID)


def test_a_catalogue_in_one_colour_teaches_nothing(tmp_path: Path) -> None:
    folder = photos(tmp_path, 8)
    with (folder / "catalogue" / "labels.csv").open() as file:
        write_rows(folder / "catalogue" / "labels.csv", [row for row in csv.DictReader(file) if row["color"] == "Red"])
    with pytest.raises(PhotosUnusable, match="several colours"):
        train_regions(folder, QUICK, lambda *_: None)


def test_the_command_writes_the_network_where_it_is_told_and_not_over_the_shipped_one(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 8)
    asked = ["train", "regions", "--data", str(folder), "--steps", "1", "1", "--to"]
    done = CliRunner().invoke(main, [*asked, str(tmp_path / "made")], catch_exceptions=False)
    assert done.exit_code == 0
    assert "product iou" in done.output
    assert (tmp_path / "made" / SPEC).exists()
    refused = CliRunner().invoke(main, [*asked, "models/regions"])
    assert refused.exit_code == 2
    assert "--replace-shipped" in refused.output
