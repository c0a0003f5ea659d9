"""Photos become JSON lines in the order they were given, whatever is wrong with some of them."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from cli.analyze import analyze, expanded
from local.analyst import Analyst
from shared.errors import OutOfMemory
from shared.photos import Pixels
from shared.vision.pack import open_pack
from shared.vision.reader import Reader
from tests.fakes_vision import BUILTIN, FakeRegions


class SmallTrunk:
    """Has memory for so many photos at once."""

    def __init__(self, room: int = 100) -> None:
        self.room = room

    def features(self, inputs: list[Pixels]) -> NDArray[np.float32]:
        if len(inputs) > self.room:
            raise OutOfMemory("full")
        return np.stack(
            [np.random.default_rng(int(x.sum())).random(BUILTIN.trunk.widths.all, np.float32) for x in inputs]
        )


def photographed(path: Path, shade: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48), (shade, 40, 200)).save(path)
    return path


def lines(paths: list[Path], trunk: SmallTrunk, batch: int = 4, embedding: bool = False) -> list[dict[str, object]]:
    reader = Reader(trunk, open_pack("builtin"))  # type: ignore[arg-type]
    with ThreadPoolExecutor(2) as pool:
        return list(Analyst(reader, FakeRegions(), pool, embedding).lines(paths, batch))


def test_folders_become_their_photos_in_order_and_files_stay_where_they_were_named(tmp_path: Path) -> None:
    late, early = photographed(tmp_path / "f/b/2.jpg"), photographed(tmp_path / "f/a/1.PNG")
    (tmp_path / "f/notes.txt").write_text("no photo")
    named = tmp_path / "named.txt"
    assert list(expanded([named, tmp_path / "f"])) == [named, early, late]


def test_what_other_systems_left_is_no_photo_and_what_is_left_out_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [photographed(tmp_path / name) for name in ("photo2.jpg", "photo10.jpg")]
    photographed(tmp_path / "@eaDir/photo2.jpg/SYNOPHOTO_THUMB_M.jpg")
    (tmp_path / "._photo2.jpg").write_bytes(b"\0\5\x16\7")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    assert list(expanded([tmp_path])) == photos
    assert "gone.jpg: a link to nowhere.jpg, which isn't there" in capsys.readouterr().err


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_each_photo_has_a_line_in_order_and_bad_ones_say_why(tmp_path: Path, batch: int) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no photo")
    good = [photographed(tmp_path / f"{n}.jpg", 20 * n) for n in range(5)]
    paths = [good[0], text, *good[1:], tmp_path / "gone.jpg"]
    found = lines(paths, SmallTrunk(), batch)
    assert [line["photo"] for line in found] == [str(path) for path in paths]
    errors = [line["error"] for line in found if "error" in line]
    assert [error["code"] for error in errors] == ["unreadable", "unreadable"]  # type: ignore[index]


def test_a_line_has_the_fields_that_were_promised(tmp_path: Path) -> None:
    (line,) = lines([photographed(tmp_path / "a.jpg")], SmallTrunk(), embedding=True)
    assert list(line) == ["photo", "category", "attributes", "hash", "pack", "embedding"]
    assert set(line["category"]) == {"label", "path", "confidence", "taxonomy"}  # type: ignore[call-overload]
    assert set(line["hash"]) == {"pdq", "quality"}  # type: ignore[call-overload]
    assert line["pack"] == BUILTIN.pack_name
    assert len(line["embedding"]) == 256  # type: ignore[arg-type]
    json.dumps(line)


def test_memory_for_few_photos_at_once_changes_no_answer(tmp_path: Path) -> None:
    paths = [photographed(tmp_path / f"{n}.jpg", 20 * n) for n in range(7)]
    halved, whole = lines(paths, SmallTrunk(room=1), 7), lines(paths, SmallTrunk(), 7)
    assert [line["photo"] for line in halved] == [str(path) for path in paths]
    for one, other in zip(halved, whole, strict=True):
        assert one["category"] == other["category"] | {  # type: ignore[operator]
            "confidence": pytest.approx(other["category"]["confidence"], abs=1e-4)  # type: ignore[index]
        }


def test_no_photo_at_all_is_an_error(tmp_path: Path) -> None:
    found = CliRunner().invoke(analyze, [str(tmp_path)])
    assert found.exit_code == 1
    assert "no photo found" in found.output


def test_a_missing_pack_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRINE_PACK", "nowhere")
    found = CliRunner().invoke(analyze, [str(photographed(tmp_path / "a.jpg"))])
    assert found.exit_code == 1
    assert "no model pack 'nowhere'" in found.output
    assert "Traceback" not in found.output
