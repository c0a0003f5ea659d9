"""A model card says what the manifest and the notes beside it say, and a pack's card is never lost by accident."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.train import train
from learning.card import CARD, CARD_TEXT, NOTES, model_card
from shared.vision.pack import MANIFEST, MODELS, read_manifest, verify_files

SHIPPED = MODELS / "builtin"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "copy"))


def command(*words: str | Path) -> Result:
    return CliRunner().invoke(train, list(map(str, words)))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_shipped_card_is_what_its_manifest_and_its_notes_say() -> None:
    card = (SHIPPED / CARD).read_text()
    assert card == model_card(read_manifest(SHIPPED), (SHIPPED / NOTES).read_text())
    assert "clothing-dataset" in card and "CC0" in card and "drawn by studio" in card


def test_no_card_names_a_data_set_that_its_notes_do_not_name() -> None:
    for name in ("clothing-dataset", "GroceryStoreDataset", "Antioquia", "Swedish"):
        assert name not in CARD_TEXT
    assert "Nobody has said yet" in model_card(read_manifest(SHIPPED), "")


def test_notes_get_into_the_card_and_the_manifest_vouches_for_it(copy: Path) -> None:
    (copy / NOTES).write_text("## Photos and licences\n\nMine, {all} of them.\n")
    assert command("card", copy).exit_code == 0
    assert "Mine, {all} of them." in (copy / CARD).read_text()
    assert "clothing-dataset" not in (copy / CARD).read_text()
    verify_files(copy, read_manifest(copy))


def test_a_card_of_no_pack_is_refused(tmp_path: Path) -> None:
    said = command("card", tmp_path)
    assert said.exit_code == 1 and MANIFEST in said.output


def test_training_asks_where_to_write(tmp_path: Path) -> None:
    said = command("pack", "--data", tmp_path)
    assert said.exit_code == 2 and "--to" in said.output


def test_the_shipped_pack_is_written_over_only_when_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The photos are not there: what gets past the folder ends at them.
    before, beside = contents(SHIPPED), tmp_path / "link"
    beside.symlink_to(SHIPPED)
    monkeypatch.chdir(MODELS)
    for to in (SHIPPED, beside, "builtin", "../models/builtin"):
        said = command("pack", "--start", "nowhere", "--data", tmp_path, "--to", to)
        assert said.exit_code == 2 and "--replace-shipped" in said.output, said.output
    said = command("pack", "--data", tmp_path, "--to", SHIPPED, "--replace-shipped")
    assert said.exit_code == 1 and "not laid out" in said.output, said.output
    assert contents(SHIPPED) == before


def test_a_folder_that_cannot_name_a_pack_is_refused_before_anything_is_learned(tmp_path: Path) -> None:
    said = command("pack", "--data", tmp_path, "--to", tmp_path / "New_Pack")
    assert said.exit_code == 2 and "New_Pack" in said.output
