from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shared.photos import Pixels
from shared.settings import Settings
from shared.vision.regions import (
    CANVASES,
    GRID,
    REGIONS,
    SHIPPED,
    SPEC,
    STRIDE,
    WEIGHTS,
    RegionNetwork,
    Regions,
    RegionsUnusable,
    load_regions,
    open_regions,
    read_spec,
    region_input,
    save_regions,
)
from shared.vision.runtime import known_good
from tests.fakes_vision import jpeg, photo_of, scenery


class CountingRuntime:
    """Answers each picture by its mean, and counts them."""

    def __init__(self) -> None:
        self.seen = 0

    def features(self, pictures: Sequence[Pixels]) -> NDArray[np.float32]:
        self.seen += len(pictures)
        return np.stack([np.full(len(REGIONS) * GRID * GRID, picture.mean(), np.float32) for picture in pictures])


def pictures() -> list[Pixels]:
    return [known_good(canvas, 1)[0] for canvas in CANVASES]


@pytest.fixture(scope="module")
def network() -> RegionNetwork:
    torch.manual_seed(1)
    return RegionNetwork().eval()


def test_every_canvas_gives_a_row_of_the_same_length(network: RegionNetwork) -> None:
    with torch.inference_mode():
        lengths = {tuple(network(torch.from_numpy(picture)[None]).shape) for picture in pictures()}
    assert lengths == {(1, len(REGIONS) * GRID * GRID)}


def test_maps_are_a_stride_as_high_as_the_picture(network: RegionNetwork) -> None:
    for (height, width), picture in zip(CANVASES, pictures(), strict=True):
        with torch.inference_mode():
            maps = network.maps(torch.from_numpy(picture)[None])
        assert maps.shape == (1, len(REGIONS), height // STRIDE, width // STRIDE)


def test_a_photo_is_looked_at_once_and_keeps_its_maps() -> None:
    runtime = CountingRuntime()
    regions, photos = Regions(runtime), [photo_of(jpeg(scenery(seed))) for seed in (1, 2)]
    for photo in photos:
        regions.prepare(photo)
    regions.see([photos[0]])
    regions.see([*photos, photos[0]])
    assert runtime.seen == 2
    assert [regions.maps(photo).shape for photo in photos] == [(len(REGIONS), GRID, GRID)] * 2
    assert regions.maps(photos[0])[0, 0, 0] == pytest.approx(region_input(photos[0].pixels(224)).mean(), abs=0.01)


def test_a_photo_that_was_not_seen_has_no_maps() -> None:
    with pytest.raises(LookupError):
        Regions(CountingRuntime()).maps(photo_of(jpeg(scenery(1))))


def test_a_broken_network_does_not_warm_up() -> None:
    class Broken(CountingRuntime):
        def features(self, pictures: Sequence[Pixels]) -> NDArray[np.float32]:
            return np.full((len(pictures), 8), np.nan, np.float32)

    with pytest.raises(RuntimeError, match="not finite"):
        Regions(Broken()).warm_up()


def test_weights_are_the_same_once_saved_and_loaded_but_for_half_precision(
    network: RegionNetwork, tmp_path: Path
) -> None:
    from shared.vision.pack import sha256_of

    save_regions(network, tmp_path / WEIGHTS)
    again = load_regions(tmp_path / WEIGHTS, sha256_of(tmp_path / WEIGHTS))
    shown = torch.from_numpy(pictures()[0])[None]
    with torch.inference_mode():
        assert torch.allclose(again(shown), network(shown), atol=0.02)


def test_files_that_are_missing_or_others_are_named(network: RegionNetwork, tmp_path: Path) -> None:
    with pytest.raises(RegionsUnusable, match=SPEC):
        open_regions(Settings(home=tmp_path), tmp_path)
    (tmp_path / SPEC).write_text('{"sha256": "00"}')
    with pytest.raises(RegionsUnusable, match=SPEC):
        read_spec(tmp_path)
    save_regions(network, tmp_path / WEIGHTS)
    with pytest.raises(RegionsUnusable, match="sha256"):
        load_regions(tmp_path / WEIGHTS, "00")


def test_the_shipped_network_is_whole_and_small() -> None:
    load_regions(SHIPPED / WEIGHTS, read_spec(SHIPPED).sha256)
    assert (SHIPPED / WEIGHTS).stat().st_size < 2 * 2**20


def test_the_shipped_network_finds_a_thing_on_a_plain_ground() -> None:
    network = load_regions(SHIPPED / WEIGHTS, read_spec(SHIPPED).sha256)
    picture = np.full((320, 240, 3), 235, np.uint8)
    picture[90:230, 60:180] = (190, 30, 35)
    with torch.inference_mode():
        row = network(torch.from_numpy(region_input(picture))[None])[0].numpy()
    product = row.reshape(len(REGIONS), GRID, GRID)[REGIONS.index("product")] > 0
    inside = np.zeros((GRID, GRID), np.bool_)
    inside[9:23, 8:24] = True
    assert (product & inside).sum() / (product | inside).sum() > 0.6
