"""Figures mean what their names say, and copies are edited alike every time."""

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli import evaluate as command
from learning.baselines import BaselineAbsent, ColourHistogram, baselines
from learning.copies import EDITS, copies_of
from learning.evaluation import (
    Answers,
    answer_figures,
    average_precision,
    calibration_error,
    confusion,
    copies_found,
    embedding_figures,
    mean_average_precision,
    measured,
    mistakes,
    per_class,
    said,
    top,
)
from learning.evaluation_files import CONFUSION, FIGURES, MISTAKES, PER_CLASS, write_files
from learning.sources import Sample, read_samples
from learning.strangers import photos_of_packages
from shared.settings import Settings
from shared.vision.heads import Array, unit_rows
from shared.vision.pack import Pack
from shared.vision.taxonomy import Judgement
from tests.fakes_packs import (
    CANVASES,
    HAT,
    KIWI,
    LEAVES,
    LEMON,
    LIME,
    RUNTIME,
    SHIRT,
    SIDE,
    features,
    knowing_all,
    pack_of,
    sample,
    samples,
)
from tests.fakes_vision import jpeg, labelled_photos, scenery


def named(path: tuple[str, ...], confidence: float = 0.9) -> Judgement:
    return Judgement(path, confidence, complete=True)


def answered(*pairs: tuple[tuple[str, ...], Judgement]) -> Answers:
    truths = tuple(Sample(b"", truth, "val", group="") for truth, _ in pairs)
    likely = np.full((len(pairs), len(LEAVES)), 1 / len(LEAVES), np.float32)
    return Answers(truths, tuple(judged for _, judged in pairs), likely, LEAVES)


def test_average_precision_is_the_mean_precision_at_the_relevant_places() -> None:
    assert average_precision(np.array([True, False, True, False])) == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert average_precision(np.array([True, True, False])) == 1
    assert np.isnan(average_precision(np.array([False, False])))


def test_class_map_leaves_out_the_photo_that_asks_and_classes_of_one() -> None:
    angles = np.radians([0, 10, 25, 90])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    # From 0: 10 is of another class, 25 of its own. From 25: 10 is nearer than 0. The others are alone in theirs.
    assert mean_average_precision(vectors, np.array([0, 1, 0, 2])) == pytest.approx(0.5)
    assert np.isnan(mean_average_precision(vectors, np.array([0, 1, 2, 3])))


def test_calibration_error_is_the_gap_of_confidence_and_accuracy() -> None:
    sure = np.array([0.9, 0.9, 0.9, 0.9])
    assert calibration_error(sure, np.array([True, True, True, True])) == pytest.approx(0.1)
    assert calibration_error(sure, np.array([True, True, False, False])) == pytest.approx(0.4)
    assert calibration_error(np.array([0.5, 1.0]), np.array([False, True])) == pytest.approx(0.25)
    assert calibration_error(np.zeros(0), np.zeros(0, bool)) == 0


def test_the_right_leaf_is_among_the_likeliest_or_unknown_to_the_pack() -> None:
    probabilities = np.array([[0.1, 0.2, 0.7]] * 3, np.float32)
    assert top(probabilities, np.array([1, 0, -1]), 2).tolist() == [True, False, False]
    assert top(probabilities, np.array([2, 1, 0]), 1).tolist() == [True, False, False]


def test_half_known_counts_for_the_coarse_figure_only_and_unknown_for_none() -> None:
    citrus = Judgement(LIME[:3], 0.8, complete=False)
    found = answer_figures(
        answered((LIME, citrus), (LIME, named(LEMON)), (KIWI, named(KIWI)), (KIWI, Judgement((), 1.0, complete=False)))
    )
    assert found["groceries_fine_top1"] == 0.25
    assert found["groceries_coarse_top1"] == 0.75
    assert found["unknown"] == 0.25
    assert found["without_leaf"] == 0.5
    assert found["calibration_error"] == pytest.approx((0.9 + 0.9 - 1) / 2)


def test_a_figure_of_no_photos_is_left_out() -> None:
    found = answer_figures(answered((KIWI, named(KIWI))))
    assert "groceries_fine_top1" in found
    assert "garments_top1" not in found


def test_precision_and_recall_are_of_each_category() -> None:
    found = {
        figures.path: figures
        for figures in per_class(
            answered(
                (HAT, named(HAT)),
                (HAT, named(SHIRT)),
                (HAT, named(SHIRT)),
                (HAT, Judgement((), 1.0, complete=False)),
                (KIWI, named(HAT)),
            )
        )
    }
    assert (found[HAT].photos, found[HAT].answered, found[HAT].right) == (4, 2, 1)
    assert (found[HAT].precision, found[HAT].recall) == (0.5, 0.25)
    assert found[HAT].wrong_answer == "garments / shirt"
    assert (found[SHIRT].precision, found[SHIRT].recall, found[SHIRT].wrong_answer) == (0, None, "")
    assert (found[KIWI].precision, found[KIWI].recall, found[KIWI].wrong_answer) == (None, 0, "garments / hat")


def test_confusion_counts_every_photo_once_and_ends_with_those_of_no_leaf() -> None:
    paths, counts = confusion(answered((HAT, named(SHIRT)), (SHIRT, named(SHIRT)), (HAT, Judgement((), 1.0, False))))
    assert paths == [HAT, SHIRT]
    assert counts.tolist() == [[0, 1, 1], [0, 1, 0]]


def test_the_worst_mistake_is_the_surest_and_silence_is_none() -> None:
    found = mistakes(
        answered(
            (HAT, named(SHIRT, 0.6)),
            (HAT, named(HAT, 0.99)),
            (KIWI, named(LIME, 0.8)),
            (KIWI, Judgement(("garments",), 0.7, complete=False)),
            (KIWI, Judgement(KIWI[:2], 0.9, complete=False)),
            (KIWI, Judgement((), 1.0, complete=False)),
        )
    )
    assert [judged.confidence for _, judged in found] == [0.8, 0.7, 0.6]


def test_answers_are_said_in_words() -> None:
    assert said(named(HAT)) == "garments / hat"
    assert said(Judgement(LIME[:2], 0.7, complete=False)) == "groceries / Fruit / ?"
    assert said(Judgement((), 0.7, complete=False)) == "unknown"


def test_copies_are_the_same_every_time_and_none_is_the_photo() -> None:
    photo = scenery(1, 90, 120)
    untouched = photo.copy()
    first, again = copies_of(photo, 7), copies_of(photo, 7)
    assert (photo == untouched).all()
    assert len(first) == len(EDITS) == 5
    for copy, same in zip(first, again, strict=True):
        assert copy.dtype == np.uint8
        assert np.array_equal(copy, same)
        assert not np.array_equal(copy, photo)
    assert any(not np.array_equal(*pair) for pair in zip(first, copies_of(photo, 8), strict=True))


def test_each_copy_is_edited_as_its_name_says() -> None:
    photo = scenery(2, 100, 200)
    copies = dict(zip(EDITS, copies_of(photo, 3), strict=True))
    height, width = copies["crop"].shape[:2]
    assert 70 <= height <= 90 and 140 <= width <= 180
    assert np.array_equal(copies["mirror"][:, ::-1], photo)
    assert copies["border"].shape == (120, 240, 3)
    assert np.array_equal(copies["border"][10:-10, 20:-20], photo)
    assert len(np.unique(copies["border"][:10].reshape(-1, 3), axis=0)) == 1
    assert np.array_equal(copies["overlay"][:75], photo[:75])
    assert not np.array_equal(copies["overlay"][-10:], photo[-10:])
    assert np.abs(copies["recompress"].astype(int) - photo).mean() < 10


@pytest.mark.parametrize("height, width", [(1, 1), (3, 500), (500, 3)])
def test_the_oddest_photo_can_be_copied(height: int, width: int) -> None:
    assert all(copy.size for copy in copies_of(np.full((height, width, 3), 7, np.uint8), 0))


def test_a_copy_is_found_when_the_photo_it_was_made_of_is_the_nearest() -> None:
    some = [sample(HAT, seed) for seed in range(9)]  # more than are copied at once
    done: list[int] = []
    vectors = unit_rows(features(some))

    def embed(pictures: Sequence[np.ndarray]) -> Array:
        return unit_rows(RUNTIME.features(pictures))

    found = copies_found(some, vectors, embed, CANVASES, done.append)
    assert found["copies_recompress"] == 1
    assert found["copies_mean"] == pytest.approx(np.mean([found[f"copies_{name}"] for name in EDITS]))
    assert sum(done) == 9
    # With the gallery turned round only the photo in the middle is where its copies look for it.
    assert copies_found(some, vectors[::-1], embed, CANVASES)["copies_recompress"] == pytest.approx(1 / 9)


def test_a_pack_that_knows_every_photo_gets_all_of_them_right() -> None:
    some = samples()
    rows = features(some)
    strange = RUNTIME.features([np.full((SIDE, SIDE, 3), (255, 0, 0), np.uint8)])
    found = measured(knowing_all(some), RUNTIME, some, rows, strange)
    assert list(found) == [
        "garments_top1",
        "garments_top5",
        "groceries_fine_top1",
        "groceries_fine_top5",
        "groceries_coarse_top1",
        "calibration_error",
        "unknown",
        "without_leaf",
        "strangers_unknown",
        "strangers_photos",
        "audience_balanced_accuracy",
        "embedding_same_class_nearest",
        "copies_crop",
        "copies_mirror",
        "copies_recompress",
        "copies_overlay",
        "copies_border",
        "copies_mean",
    ]
    assert found["garments_top1"] == found["groceries_fine_top1"] == found["groceries_coarse_top1"] == 1
    assert found["unknown"] == found["without_leaf"] == 0
    assert (found["strangers_unknown"], found["strangers_photos"]) == (1, 1)
    assert found["audience_balanced_accuracy"] == 0.5  # it says kids of everybody
    assert found["copies_recompress"] == 1


def test_the_five_likeliest_are_what_the_heads_say_even_of_an_unknown_photo() -> None:
    some = samples()
    rows = features(some)
    # All photos are strangers to a pack that knows another one, and of five leaves each is among the likeliest.
    ignorant = pack_of(RUNTIME.features([np.full((SIDE, SIDE, 3), (0, 0, 255), np.uint8)]), [0])
    found = measured(ignorant, RUNTIME, some, rows, rows[:0])
    assert found["garments_top1"] == 0 and found["garments_top5"] == 1
    assert found["unknown"] == 1
    assert "strangers_unknown" not in found and found["strangers_photos"] == 0


def test_train_photos_and_staged_ones_are_not_judged() -> None:
    some = [sample(HAT, 1), sample(HAT, 2, "train"), sample(HAT, 3, staged=True), sample(HAT, 4)]
    vectors = np.array([[1, 0], [0, 1], [0, 1], [1, 0]], np.float32)
    asked: list[int] = []

    def embed(pictures: Sequence[np.ndarray]) -> Array:
        asked.append(len(pictures))
        return np.repeat(vectors[:1], len(pictures), axis=0)

    found = embedding_figures(some, vectors, embed, CANVASES)
    assert found["embedding_map_garments"] == 1
    assert found["embedding_same_class_nearest"] == 1
    assert "embedding_map_groceries" not in found
    assert sum(asked) == 2 * len(EDITS)


def test_colours_alone_tell_red_from_blue() -> None:
    red, blue = (np.full((SIDE, SIDE, 3), colour, np.uint8) for colour in ((220, 10, 10), (10, 10, 220)))
    rows = ColourHistogram().features([red, blue, red])
    assert rows.shape == (3, 512)
    assert (rows @ rows.T).round(3).tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]


def test_a_baseline_looks_at_its_vector_only() -> None:
    histogram = baselines(["shrunk"], CANVASES, Settings())["colour histogram"]()
    found = histogram.figures(samples(), CANVASES, lambda _n: None, lambda _n: None)
    assert found["copies_mirror"] == 1
    assert "embedding_same_class_nearest" in found


def test_an_architecture_without_imagenet_weights_is_one_line() -> None:
    with pytest.raises(BaselineAbsent, match="shrunk") as why:
        baselines(["shrunk"], CANVASES, Settings())["ImageNet trunk"]()
    assert "\n" not in str(why.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return labelled_photos(tmp_path / "photos")


@pytest.fixture
def tiny(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Pack:
    """A pack that knows the photos of the folder, takes limes for kiwis, and serves the command."""
    some = read_samples(folder)
    wrong = [KIWI if one.category == LIME else one.category for one in some]
    pack = pack_of(features(some), [LEAVES.index(category) for category in wrong])
    monkeypatch.setattr(command, "open_pack", lambda _name: pack)
    monkeypatch.setattr(command, "runtime_of", lambda _pack, _settings: RUNTIME)
    return pack


def test_the_command_writes_where_a_pack_errs(folder: Path, tiny: Pack, tmp_path: Path) -> None:
    to = tmp_path / "report"
    found = CliRunner().invoke(command.evaluate, ["pack", "tiny", "--data", str(folder), "--to", str(to)])
    assert found.exit_code == 0, found.output
    assert "groceries fine top1" in found.stdout
    figures = json.loads((to / FIGURES).read_text())
    assert (figures["pack"], figures["val_photos"]) == ("tiny@1", 4)
    assert (figures["figures"]["garments_top1"], figures["figures"]["groceries_fine_top1"]) == (1, 0.5)
    with (to / PER_CLASS).open() as file:
        rows = {row["category"]: row for row in csv.DictReader(file)}
    assert rows[" / ".join(LIME)]["most frequent wrong answer"] == " / ".join(KIWI)
    assert rows[" / ".join(KIWI)]["precision"] == "0.5000"
    assert Image.open(to / CONFUSION).size[0] > 300
    assert Image.open(to / MISTAKES).size[0] < 300  # one mistake is one thumb


def test_photos_of_strangers_are_added(folder: Path, tiny: Pack, tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), "red").save(tmp_path / "photos-of-red.png")
    (tmp_path / "notes.txt").write_text("not a photo")
    more = tmp_path / "more"
    more.mkdir()
    (tmp_path / "photos-of-red.png").rename(more / "red.PNG")
    (tmp_path / "notes.txt").rename(more / "notes.txt")
    there = len(photos_of_packages())
    assert [one.photo for one in command.strange(more)][there:] == [more / "red.PNG"]


def test_a_folder_laid_out_otherwise_is_one_line(tiny: Pack, tmp_path: Path) -> None:
    found = CliRunner().invoke(command.evaluate, ["pack", "tiny", "--data", str(tmp_path)])
    assert found.exit_code == 1
    assert "is not laid out as the training photos are" in found.output
    assert "Traceback" not in found.output


def shares(output: str, title: str) -> dict[str, list[str]]:
    """The rows of the table with this title, by their first cell."""
    lines = output[output.index(title) :].splitlines()[3:]
    rows = [[cell.strip() for cell in line.strip("│┃ ").split("│")] for line in lines if "│" in line]
    first = [number for number, row in enumerate(rows) if row[0] == "mean"]
    return {name: cells for name, *cells in rows[: first[0] + 1 if first else None]}


def test_the_command_judges_each_source_by_itself(folder: Path, tiny: Pack, tmp_path: Path) -> None:
    shop = tmp_path / "more" / "shop"
    shop.mkdir(parents=True)
    rows = ["image,label,split", "a.jpg,groceries/Fruit,val", "b.jpg,garments/shoes,val", "c.jpg,-,val"]
    (shop / "labels.csv").write_text("\n".join(rows))
    for name, colour in (("a.jpg", (255, 0, 0)), ("b.jpg", (0, 0, 255)), ("c.jpg", (0, 255, 0))):
        (shop / name).write_bytes(jpeg(np.full((SIDE, SIDE, 3), colour, np.uint8)))
    to = tmp_path / "report"
    words = ["--data", str(folder), "--data", str(shop), "--to", str(to), "--curve", "--hold-out", "source"]
    found = CliRunner().invoke(command.evaluate, ["pack", "tiny", *words])
    assert found.exit_code == 0, found.output
    rows_of = shares(found.stdout, "by source")
    # Photos, right, near, unknown, wrong, surely wrong: it takes limes for kiwis, and knows nothing of the shop's.
    assert rows_of["clothing"][:6] == ["2", "1.000", "0.000", "0.000", "0.000", "0.000"]
    assert rows_of["grocery"][:6] == ["2", "0.500", "0.000", "0.000", "0.500", "0.500"]
    assert rows_of["shop"][:6] == ["3", "0.333", "0.000", "0.667", "0.000", "0.000"]
    assert rows_of["mean"][:2] == ["7", "0.611"]
    assert "by what a wrong name costs" in found.stdout
    without = shares(found.stdout, "without each source")
    assert list(without) == ["clothing", "grocery", "shop", "mean"]
    assert without["clothing"][1] == "0.000"
    figures = json.loads((to / FIGURES).read_text())
    # Of the first sources alone, whatever is judged beside them.
    assert (figures["figures"]["garments_top1"], figures["figures"]["unknown"]) == (1, 0)
    assert figures["sources"]["shop"]["photos"] == 3
    assert figures["sources"]["shop"]["right"] == 0.3333


def test_photos_of_a_shop_alone_are_judged_too(tiny: Pack, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image,label,split\na.jpg,aa-8,val")
    (tmp_path / "a.jpg").write_bytes(jpeg(scenery(2, 96, 128)))
    found = CliRunner().invoke(command.evaluate, ["pack", "tiny", "--data", str(tmp_path)])
    assert found.exit_code == 0, found.output
    assert shares(found.stdout, "by source")[tmp_path.name][0] == "1"
    assert "calibration error" not in found.stdout  # of no photo of the first sources


def test_photos_of_no_product_and_labels_above_a_leaf_have_their_figures_and_files(tmp_path: Path) -> None:
    fruit, nothing = LIME[:2], ()
    pairs = [(fruit, named(LIME)), (nothing, Judgement((), 0.9, complete=False)), (nothing, named(HAT, 0.7))]
    given = answered(*pairs)
    assert given.right.tolist() == [True, True, False]
    assert [judged.path for _, judged in mistakes(given)] == [HAT]
    photos = tuple(replace(one, photo=jpeg(scenery(1, 40, 40))) for one in given.samples)
    write_files(tmp_path, "tiny@1", replace(given, samples=photos), {}, {}, [])
    with (tmp_path / PER_CLASS).open() as file:
        rows = {row["category"]: row for row in csv.DictReader(file)}
    assert (rows["no product"]["photos"], rows["no product"]["right"]) == ("2", "1")
    assert rows["no product"]["most frequent wrong answer"] == "garments / hat"
    assert (tmp_path / CONFUSION).is_file() and (tmp_path / MISTAKES).is_file()
