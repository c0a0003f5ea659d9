"""The fastest engine serves, but only if it says what torch says."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shared.errors import OutOfMemory
from shared.photos import Pixels
from shared.vision import runtime
from shared.vision.runtime import (
    AGREEMENT,
    AT_ONCE,
    BATCH,
    Engine,
    Half,
    OpenVino,
    Torch,
    converted,
    cosines,
    known_good,
    open_runtime,
)
from shared.vision.trunk import Network, load_network, save_network

CANVAS = (64, 64)
CANVASES = (CANVAS, (96, 64), (64, 96))
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

    def features(self, pictures: Sequence[Pixels]) -> NDArray[np.float32]:
        return self._rows[: len(pictures)]


def offer(monkeypatch: pytest.MonkeyPatch, *builders: Callable[[], Engine]) -> None:
    def others(*_: object) -> Iterator[Callable[[], Engine]]:
        yield from builders

    monkeypatch.setattr(runtime, "other_engines", others)


def right_answers(network: Network) -> NDArray[np.float32]:
    """To what engines are compared on: all shapes."""
    return Torch(network, CPU).features([*known_good(CANVAS), *(known_good(canvas, 1)[0] for canvas in CANVASES[1:])])


def _one_by_one(network: Network, pictures: list[Pixels]) -> NDArray[np.float32]:
    plain = Torch(network, CPU)
    return np.concatenate([plain.features([picture]) for picture in pictures])


def test_every_engine_of_this_machine_agrees_with_torch(network: Network, tmp_path: Path) -> None:
    found = open_runtime(network, CANVASES, "some weights", CPU, 1, tmp_path)
    assert [one.name for one in found.tried][:2] == ["torch on cpu", "OpenVINO"]
    assert all(one.agreement >= AGREEMENT and not one.why_not for one in found.tried)
    assert found.engine.name == min(found.tried, key=lambda one: one.milliseconds).name
    pictures = list(known_good(CANVAS, 3))
    assert found.features(pictures).shape == (3, sum(network.finals) + 2 * sum(network.stages))


FIRST_PICTURES = """
import multiprocessing, sys
from pathlib import Path
from shared.vision.runtime import OpenVino, known_good

def answer():
    engine = OpenVino(Path(sys.argv[1]), threads=8, bfloat16=False)
    sys.setswitchinterval(1e-6)  # threads meet at every line, as they rarely do on an idle machine
    assert len(engine.features(list(known_good((64, 64), 32)))) == 32

# What is slow to load is loaded once; each of them is the first to load OpenVINO.
processes = [multiprocessing.get_context("fork").Process(target=answer, daemon=True) for _ in range(4)]
for process in processes:
    process.start()
for process in processes:
    process.join(60)
print([process.exitcode for process in processes])
"""


def test_the_first_pictures_of_a_process_may_be_given_by_many_threads(network: Network, tmp_path: Path) -> None:
    """Without a first one alone four processes of six never answered."""
    converted(network, "some weights", tmp_path)
    model = next(tmp_path.glob("openvino/*/network.xml"))
    done = subprocess.run([sys.executable, "-c", FIRST_PICTURES, str(model)], capture_output=True, text=True)
    assert done.stdout == "[0, 0, 0, 0]\n", done.stderr


def test_pictures_of_all_shapes_dealt_out_to_streams_are_answered_in_order(network: Network, tmp_path: Path) -> None:
    engine = OpenVino(converted(network, "some weights", tmp_path), threads=2, bfloat16=False)
    many = known_good(CANVASES[1], AT_ONCE + 3)
    pictures = [many[0], *known_good(CANVAS, 2), *many[1:], *known_good(CANVASES[2], 1)]
    np.testing.assert_allclose(engine.features(pictures), _one_by_one(network, pictures), atol=1e-3)


@pytest.mark.parametrize("name", ["OpenVINO", "torch on cpu", "torch on cpu, float16"])
def test_several_threads_may_ask_an_engine_at_once(network: Network, tmp_path: Path, name: str) -> None:
    tiny = Tiny().eval()
    engines: dict[str, Callable[[], Engine]] = {
        "OpenVINO": lambda: OpenVino(converted(network, "some weights", tmp_path), threads=2, bfloat16=False),
        "torch on cpu": lambda: Torch(network, CPU),
        "torch on cpu, float16": lambda: Half(tiny, CPU),
    }
    engine = engines[name]()
    many = known_good(CANVAS, 12)
    asked = [list(many[start : start + 3]) for start in range(0, 12, 3)]
    alone = [engine.features(pictures) for pictures in asked]
    with ThreadPoolExecutor(len(asked)) as threads:
        for _ in range(10):
            for found, wanted in zip(threads.map(engine.features, asked), alone, strict=True):
                np.testing.assert_allclose(found, wanted, atol=1e-3)


class Tiny(torch.nn.Module):
    """A network small enough for float16 on a CPU, where that is slow."""

    def __init__(self, largest: int = 1000, beyond: Exception | None = None) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 16, 3)
        self.largest = largest
        self.beyond = beyond

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        if self.beyond and len(pictures) > self.largest:
            raise self.beyond
        maps = self.convolution(pictures.permute(0, 3, 1, 2).to(torch.float32).div(255))
        return torch.cat([maps.mean((2, 3)), maps.std((2, 3))], dim=1)


def test_in_half_precision_batches_of_all_sizes_and_shapes_mixed_are_answered_in_order() -> None:
    torch.manual_seed(3)
    network = Tiny().eval()
    engine, plain = Half(network, CPU), Torch(network, CPU)
    # Largest first: what is left of it in the buffers must not be seen by those after.
    for count in (7, 1, 2, 3, 8, 5, 1):
        pictures = [picture for each in zip(*(known_good(c, count) for c in CANVASES), strict=True) for picture in each]
        assert cosines(engine.features(pictures), plain.features(pictures)).min() > 0.9999
    assert next(network.parameters()).dtype == torch.float32


@pytest.mark.parametrize(
    "why",
    [
        torch.OutOfMemoryError("full"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=str,
)
def test_after_running_out_of_memory_smaller_batches_are_answered(why: Exception) -> None:
    engine = Half(Tiny(largest=4, beyond=why).eval(), CPU)
    with pytest.raises(OutOfMemory):
        engine.features(list(known_good(CANVAS, 5)))
    assert engine.features(list(known_good(CANVAS, 4))).shape == (4, 32)


def test_a_faster_engine_that_agrees_is_taken(
    network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    offer(monkeypatch, lambda: Canned("quick", right_answers(network)))
    assert open_runtime(network, CANVASES, "", CPU, 1, tmp_path).engine.name == "quick"


@pytest.mark.parametrize("flaw", ["noise", "zeros", "not finite", "another photo's", "right on squares only"])
def test_a_faster_engine_that_answers_otherwise_is_refused(
    network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flaw: str
) -> None:
    right = right_answers(network)
    wrong = {
        "noise": right + np.random.default_rng(1).normal(0, right.std(), right.shape).astype(np.float32),
        "zeros": np.zeros_like(right),
        "not finite": np.full_like(right, np.nan),
        "another photo's": right.mean(axis=0) - right,
        "right on squares only": right * np.where(np.arange(len(right)) < BATCH, 1, -1)[:, None].astype(np.float32),
    }[flaw]
    offer(monkeypatch, lambda: Canned("wrong", wrong))
    found = open_runtime(network, CANVASES, "", CPU, 1, tmp_path)
    assert found.engine.name == "torch on cpu"
    assert "differ" in found.tried[-1].why_not


def test_an_engine_that_cannot_be_built_is_passed_over(
    network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken() -> Engine:
        raise RuntimeError("no such instruction")

    offer(monkeypatch, broken, lambda: Canned("quick", right_answers(network)))
    assert open_runtime(network, CANVASES, "", CPU, 1, tmp_path).engine.name == "quick"


def test_a_network_is_converted_once(network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = converted(network, "some weights", tmp_path)
    monkeypatch.setattr("openvino.convert_model", lambda *_args, **_kwargs: pytest.fail("converted again"))
    assert converted(network, "some weights", tmp_path) == first
    with pytest.raises(pytest.fail.Exception):
        converted(network, "other weights", tmp_path)


def test_where_nothing_can_be_written_a_network_is_converted_in_memory(network: Network, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    found = open_runtime(network, CANVASES, "some weights", CPU, 1, tmp_path / "cache")
    assert "OpenVINO" in {one.name for one in found.tried}


def test_weights_come_back_from_safetensors_nearly_as_they_were(network: Network, tmp_path: Path) -> None:
    save_network(network, tmp_path / "trunk.safetensors")
    found = right_answers(load_network(["tf_efficientnet_lite0"], tmp_path / "trunk.safetensors"))
    wanted = right_answers(network)
    assert np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()  # filters have 8 bits


def test_known_good_pictures_differ_from_each_other() -> None:
    pictures = known_good(CANVAS)
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


def test_nothing_here_tells_openvinos_maker_what_is_converted() -> None:
    assert find_spec("openvino_telemetry") is None
