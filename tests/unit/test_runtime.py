"""The fastest engine serves, but only if it says what torch says."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shared.vision import runtime
from shared.vision.runtime import AGREEMENT, AT_ONCE, Engine, OpenVino, Torch, converted, known_good, open_runtime
from shared.vision.trunk import Network, load_network, save_network

SIDE = 64
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(3)
    return Network(["tf_efficientnet_lite0"]).eval()


class Canned:
    """An engine that answers at once, with what it was given."""

    def __init__(self, name: str, rows: NDArray[np.float32]) -> None:
        self.name = name
        self._rows = rows

    def features(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._rows[: len(pictures)]


def offer(monkeypatch: pytest.MonkeyPatch, *builders: Callable[[], Engine]) -> None:
    def others(*_: object) -> Iterator[Callable[[], Engine]]:
        yield from builders

    monkeypatch.setattr(runtime, "_others", others)


def right_answers(network: Network) -> NDArray[np.float32]:
    return Torch(network, CPU).features(known_good(SIDE))


def test_every_engine_of_this_machine_agrees_with_torch(network: Network, tmp_path: Path) -> None:
    found = open_runtime(network, SIDE, "some weights", CPU, 1, tmp_path)
    assert [one.name for one in found.tried][:2] == ["torch on cpu", "OpenVINO"]
    assert all(one.agreement >= AGREEMENT and not one.why_not for one in found.tried)
    assert found.engine.name == min(found.tried, key=lambda one: one.milliseconds).name
    pictures = list(known_good(SIDE)[:3])
    assert found.features(pictures).shape == (3, network.final + 2 * sum(network.stages))


def test_pictures_dealt_out_to_streams_are_answered_in_their_order(network: Network, tmp_path: Path) -> None:
    engine = OpenVino(converted(network, SIDE, "some weights", tmp_path), threads=2, bfloat16=False)
    pictures = known_good(SIDE)[: AT_ONCE + 3]
    np.testing.assert_allclose(engine.features(pictures), Torch(network, CPU).features(pictures), atol=1e-3)


def test_a_faster_engine_that_agrees_is_taken(
    network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    offer(monkeypatch, lambda: Canned("quick", right_answers(network)))
    assert open_runtime(network, SIDE, "", CPU, 1, tmp_path).engine.name == "quick"


@pytest.mark.parametrize("flaw", ["noise", "zeros", "not finite", "another photo's"])
def test_a_faster_engine_that_answers_otherwise_is_refused(
    network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flaw: str
) -> None:
    right = right_answers(network)
    wrong = {
        "noise": right + np.random.default_rng(1).normal(0, right.std(), right.shape).astype(np.float32),
        "zeros": np.zeros_like(right),
        "not finite": np.full_like(right, np.nan),
        "another photo's": right.mean(axis=0) - right,
    }[flaw]
    offer(monkeypatch, lambda: Canned("wrong", wrong))
    found = open_runtime(network, SIDE, "", CPU, 1, tmp_path)
    assert found.engine.name == "torch on cpu"
    assert "differ" in found.tried[-1].why_not


def test_an_engine_that_cannot_be_built_is_passed_over(
    network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken() -> Engine:
        raise RuntimeError("no such instruction")

    offer(monkeypatch, broken, lambda: Canned("quick", right_answers(network)))
    assert open_runtime(network, SIDE, "", CPU, 1, tmp_path).engine.name == "quick"


def test_a_network_is_converted_once(network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = converted(network, SIDE, "some weights", tmp_path)
    monkeypatch.setattr("openvino.convert_model", lambda *_args, **_kwargs: pytest.fail("converted again"))
    assert converted(network, SIDE, "some weights", tmp_path) == first
    with pytest.raises(pytest.fail.Exception):
        converted(network, SIDE, "other weights", tmp_path)


def test_where_nothing_can_be_written_a_network_is_converted_in_memory(network: Network, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    found = open_runtime(network, SIDE, "some weights", CPU, 1, tmp_path / "cache")
    assert "OpenVINO" in {one.name for one in found.tried}


def test_weights_come_back_from_safetensors_to_half_precision(network: Network, tmp_path: Path) -> None:
    save_network(network, tmp_path / "trunk.safetensors")
    found = right_answers(load_network(["tf_efficientnet_lite0"], tmp_path / "trunk.safetensors"))
    wanted = right_answers(network)
    assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()


def test_known_good_pictures_differ_from_each_other() -> None:
    pictures = known_good(SIDE)
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


def test_nothing_here_tells_openvinos_maker_what_is_converted() -> None:
    assert find_spec("openvino_telemetry") is None
