import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cli import evaluate as command
from cli.__main__ import main
from local.colours import Told, colour_called
from tests.fakes_vision import FakeReader, FakeRegions, jpeg


@pytest.mark.parametrize(
    ("label", "colour"),
    [
        ("Gray", "grey"),
        ("Navy ", "navy"),
        ("Lavender", "purple"),
        ("Multi", "multicolour"),
        ("", None),
        ("Mauve", None),
    ],
)
def test_a_shops_colours_are_known_by_their_own_names_and_some_others(label: str, colour: str | None) -> None:
    assert colour_called(label) == colour


def test_the_broader_name_is_right_too_and_the_finer_one_is_not() -> None:
    assert Told("tee", "navy", "blue").is_right
    assert not Told("tee", "blue", "navy").is_right
    assert not Told("tee", "blue", "").is_right


def test_the_command_judges_products_that_were_held_out_by_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "catalogue" / "images").mkdir(parents=True)
    rows = ["image,label,color,group"]
    for number in range(24):
        picture = np.full((90, 90, 3), 235, np.uint8)
        picture[20:70, 20:70] = (190, 30, 35) if number % 2 else (128, 128, 128)
        (tmp_path / "catalogue" / "images" / f"{number}.jpg").write_bytes(jpeg(picture))
        rows.append(f"{number}.jpg,{'Tees' if number % 2 else 'Bags'},{'Red' if number % 4 else 'Green'},g{number}")
    (tmp_path / "catalogue" / "labels.csv").write_text("\n".join(rows))
    monkeypatch.setattr(command, "open_reader", lambda _settings: FakeReader("garments", "t-shirt"))
    monkeypatch.setattr(command, "open_regions", lambda _settings: FakeRegions())
    asked = ["evaluate", "colour", "--data", str(tmp_path)]
    everything = told(*asked, "--all")
    for row in (["Bags", "12", "0.000"], ["Tees", "12", "1.000"], ["all", "24", "0.500"], ["green", "grey", "6"]):
        assert row in everything
    (total,) = [int(row[1]) for row in told(*asked) if row[:1] == ["all"]]
    assert 0 < total < 24


def told(*asked: str) -> list[list[str]]:
    """The words of each line, without the lines that are drawn between them."""
    output = CliRunner().invoke(main, asked, catch_exceptions=False).output
    return [re.findall(r"[\w.]+", line) for line in output.split("\n")]
