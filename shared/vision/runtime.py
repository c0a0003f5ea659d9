"""Runs a network as fast as this machine can without changing its answers.

Several engines may run the same network. At start each that this machine has is built, its answers on a known-good
batch are compared with plain torch's, and the fastest of those that agree is taken. `vitrine packs bench` shows them
side by side, and so converts the network ahead of time, at set-up.
"""

import hashlib
import logging
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shared.errors import OutOfMemory, Unusable
from shared.photos import Pixels
from shared.vision.trunk import Canvas

# Not structlog's: commands that configure none would get its lines amid their answers on stdout.
log = logging.getLogger(__name__)

Rows = NDArray[np.float32]
BATCH = 8  # pictures that engines are compared on
ROUNDS = 3
LEAST_SECONDS = 0.1  # so long a GPU that was idle takes to reach its clock
ENOUGH_SECONDS = 1.0  # an engine that needs so long for its rounds is told from faster ones by fewer
MOST_STREAMS = 8  # of OpenVINO: with more cores each gets several, so that a lone query's picture is not slow
MOST_COMPILED = 64  # canvases of a pack, on a GPU
EXAMPLE = 224  # pixels of a side of what a network is converted with
AT_ONCE = 4  # pictures a stream of OpenVINO is given: 16 at 224 pixels run a fifth slower
# Least cosine of an engine's features and torch's, on each picture. In bfloat16 it is 0.9998 or so, in float16
# 0.999999; a network that is broken or another one is far below.
AGREEMENT = 0.998
NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")


class DeviceAbsent(Unusable):
    """The device that was demanded is not in this machine."""


class Engine(Protocol):
    """Runs one network. Any threads may call it, though most engines let them in one at a time."""

    name: str

    def features(self, pictures: Sequence[Pixels]) -> Rows:
        """One row per picture of height x width x RGB, whatever shapes they have. Raises OutOfMemory."""
        ...


@dataclass(frozen=True, slots=True)
class Timed:
    """What came of trying an engine. `why_not` is empty for one that may be used."""

    name: str
    milliseconds: float  # per photo, in batches of BATCH
    agreement: float
    why_not: str = ""


@dataclass(frozen=True)
class Runtime:
    """The engine that was chosen, and how the others did."""

    engine: Engine
    tried: tuple[Timed, ...]

    def features(self, pictures: Sequence[Pixels]) -> Rows:
        """One row per picture of height x width x RGB. Raises OutOfMemory."""
        return self.engine.features(pictures)


class Torch:
    """Plain torch at full precision: what every other engine is compared with."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self.name = f"torch on {device.type}"
        self._network = network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = device
        self._turn = Lock()  # more than one at once would only fight for the cores, or for memory

    def features(self, pictures: Sequence[Pixels]) -> Rows:
        with self._turn:
            return _in_place((numbers, self._of(np.stack(alike))) for numbers, alike in _by_shape(pictures))

    def _of(self, pictures: NDArray[np.uint8]) -> Rows:
        # By default cuDNN rounds a convolution's operands to TF32, of ten bits.
        full_precision = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        with torch.inference_mode(), _out_of_memory_named(), full_precision:
            rows: Rows = self._network(torch.from_numpy(pictures).to(self._device)).float().cpu().numpy()
        return rows


class Half:
    """torch in float16, for a GPU's tensor cores: the weights of a pack are that already.

    Not bfloat16, whose features lie a hundred times further from those at full precision. Values beyond float16's range
    would become infinite; then the comparison with torch refuses this engine.

    Each canvas and batch size has buffers of its own and, on a GPU, its own CUDA graph: the networks are hundreds of
    small kernels, and to launch them one by one takes longer than to run them. Batch sizes are powers of two, so that
    there are few graphs; the rest of a batch is filled with whatever was there before.
    """

    def __init__(self, network: nn.Module, device: torch.device, compiled: bool = False) -> None:
        """`compiled`: by Inductor, once for each canvas. Takes half a minute each on a GPU, and a C compiler."""
        self.name = f"torch on {device.type}, float16" + (", compiled" if compiled else "")
        self._device = device
        half = deepcopy(network).eval().to(device, torch.float16, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network = _compiled(half) if compiled else half
        # A compiler takes a batch of one for a case of its own, which it compiles separately.
        self._least = 2 if compiled else 1
        self._turn = Lock()  # for the buffers
        self._forget()

    def features(self, pictures: Sequence[Pixels]) -> Rows:
        try:
            with (
                self._turn,
                torch.inference_mode(),
                _out_of_memory_named(),
                # Graphs outlive what autocast keeps.
                torch.autocast(self._device.type, torch.float16, cache_enabled=False),
            ):
                # All canvases are launched before the first is waited for.
                answers = [
                    (numbers, self._forward_for(alike).launched(alike)) for numbers, alike in _by_shape(pictures)
                ]
                if self._device.type == "cuda":
                    torch.cuda.current_stream().synchronize()
                return _in_place((numbers, rows.numpy()) for numbers, rows in answers)
        except OutOfMemory:
            # The graphs of larger batches would keep their memory from the smaller ones that come next.
            self._forget()
            raise

    def _forward_for(self, alike: Sequence[Pixels]) -> "_Forward":
        shape = (max(self._least, 1 << (len(alike) - 1).bit_length()), *alike[0].shape)
        if shape not in self._forwards:
            kind = _Graph if self._device.type == "cuda" else _Forward
            self._forwards[shape] = kind(self._network, shape, self._device, self._pool)
        return self._forwards[shape]

    def _forget(self) -> None:
        self._forwards: dict[tuple[int, ...], _Forward] = {}
        # One for all graphs: no two run at once, and each one's answer is copied before the next one runs.
        self._pool = torch.cuda.graph_pool_handle() if self._device.type == "cuda" else None


class _Forward:
    """A network on one shape of input, with buffers of its own. Used within inference_mode and autocast."""

    def __init__(
        self, network: Callable[[Tensor], Tensor], shape: tuple[int, ...], device: torch.device, pool: Any
    ) -> None:
        self._network = network
        self._pool = pool
        # Copies between pinned memory and a GPU wait for nobody.
        self._sent = torch.zeros(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
        self._pictures = torch.zeros(shape, dtype=torch.uint8, device=device)
        rows = self._prepared()
        self._rows = torch.empty(rows.shape, dtype=torch.float32, pin_memory=device.type == "cuda")

    def launched(self, alike: Sequence[Pixels]) -> Tensor:
        """One row per picture, on the CPU: there once the device has been waited for, and until the next call."""
        for place, picture in zip(self._sent.numpy(), alike, strict=False):
            place[...] = picture
        self._pictures.copy_(self._sent, non_blocking=True)
        self._rows.copy_(self._run(), non_blocking=True)
        return self._rows[: len(alike)]

    def _prepared(self) -> Tensor:
        """An answer, to learn its shape."""
        return self._run()

    def _run(self) -> Tensor:
        return self._network(self._pictures)


class _Graph(_Forward):
    """The same as one CUDA graph."""

    def _prepared(self) -> Tensor:
        # Libraries load their kernels and choose among them when first called, which can't be captured.
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            self._network(self._pictures)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads of the process may use the device meanwhile.
        with torch.cuda.graph(self._graph, pool=self._pool, capture_error_mode="thread_local"):
            self._found = self._network(self._pictures).float()
        return self._found

    def _run(self) -> Tensor:
        self._graph.replay()
        return self._found


class OpenVino:
    """Intel's engine for CPUs: fuses what torch runs layer by layer.

    A batch is dealt out, a few pictures at a time, to streams that don't wait for each other. Many threads on one
    picture wait for the slowest at the end of every layer: beside decoding and hashing on the same cores that costs a
    third of the speed. And what a layer makes of a few pictures stays in the cache until the next one reads it.
    """

    def __init__(self, model: Any, threads: int, bfloat16: bool) -> None:
        """`model`: as `converted` returns it. `threads`: 0 takes all cores."""
        self.name = "OpenVINO, bfloat16" if bfloat16 else "OpenVINO"
        threads = threads or os.cpu_count() or 1
        streams = min(threads, MOST_STREAMS)
        config = {
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
        }
        compiled = _core().compile_model(model, "CPU", config)
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for _ in range(streams):
            self._idle.put(compiled.create_infer_request())
        self._threads = ThreadPoolExecutor(streams, thread_name_prefix="stream")  # each waits for one stream
        # Alone: of threads that are the first in the process to hand the binding an array, one keeps the GIL while it
        # waits for a static variable, and one that sets this variable waits for the GIL (openvino 2026.4.1).
        self._of(list(known_good((EXAMPLE, EXAMPLE), 1)))

    def features(self, pictures: Sequence[Pixels]) -> Rows:
        """What several threads ask for is dealt out to the same streams, first come, first served."""
        numbers, alike = zip(*_by_shape(pictures, AT_ONCE), strict=True)
        return _in_place(zip(numbers, self._threads.map(self._of, alike), strict=True))

    def _of(self, alike: Sequence[Pixels]) -> Rows:
        request = self._idle.get()
        try:
            request.start_async([np.stack(alike)])
            request.wait()
            # The output lives in the engine's own memory until the next call.
            return np.array(request.get_output_tensor(0).data, dtype=np.float32)
        except RuntimeError as why:
            if "alloc" in str(why):
                raise OutOfMemory(str(why)) from why
            raise
        finally:
            self._idle.put(request)


def open_device(wanted: str) -> torch.device:
    """`wanted` is "auto", "cpu" or "cuda". Raises DeviceAbsent: a fleet paid for GPUs should not run on CPUs unseen."""
    if wanted not in ("auto", "cpu", "cuda"):
        raise DeviceAbsent(f"VITRINE_DEVICE is {wanted!r}; it may be auto, cpu or cuda")
    present = torch.cuda.is_available()
    if wanted == "cuda" and not present:
        raise DeviceAbsent("VITRINE_DEVICE=cuda, but torch finds no CUDA device here; try auto or cpu")
    return torch.device("cuda" if wanted != "cpu" and present else "cpu")


def open_runtime(
    network: nn.Module, canvases: Sequence[Canvas], identity: str, device: torch.device, threads: int, cache: Path
) -> Runtime:
    """The fastest engine of this machine that agrees with torch on every canvas; timed on the first one.

    `network` makes rows of n x height x width x RGB, uint8. `identity` tells networks apart in the cache
    of converted ones: a checksum of the weights. `threads`: 0 takes all.
    Raises Unusable for a network whose features are not finite.
    """
    if threads:
        torch.set_num_threads(threads)
    reference = Torch(network, device)
    pictures = list(known_good(canvases[0]))
    shown = pictures + [known_good(canvas, 1)[0] for canvas in canvases[1:]]
    wanted = reference.features(shown)
    if not np.isfinite(wanted).all():
        raise Unusable("the network's features of a known-good picture are not finite")
    engines: dict[str, Engine] = {reference.name: reference}
    tried = [_timed(reference, pictures, wanted, wanted)]
    for build in other_engines(network, identity, device, threads, cache):
        try:
            engine = build()
            trial = _timed(engine, pictures, engine.features(shown), wanted)
        except Exception as why:  # noqa: BLE001  an engine that can't be had is no reason not to serve
            log.warning("an engine cannot be used: %s: %s", type(why).__name__, why)
            continue
        engines[engine.name] = engine
        tried.append(trial)
    best = min((one for one in tried if not one.why_not), key=lambda one: one.milliseconds)
    said = (f"{one.name} {one.why_not or f'{one.milliseconds:.1f} ms a photo'}" for one in tried)
    log.info("runtime: %s, the fastest that agrees with torch (%s)", best.name, "; ".join(said))
    return Runtime(engines[best.name], tuple(tried))


def other_engines(
    network: nn.Module, identity: str, device: torch.device, threads: int, cache: Path
) -> Iterator[Callable[[], Engine]]:
    """What builds each engine that this machine may have, beside Torch. Building may raise anything."""
    if device.type == "cuda":
        yield lambda: Half(network, device)
        yield lambda: Half(network, device, compiled=True)
        return
    yield lambda: OpenVino(converted(network, identity, cache), threads, bfloat16=False)
    if "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        yield lambda: OpenVino(converted(network, identity, cache), threads, bfloat16=True)


def converted(network: nn.Module, identity: str, cache: Path) -> Any:
    """The network as OpenVINO knows it: a file in the cache, or a model in memory where nothing can be written.

    One for all sides that are multiples of shared.vision.trunk.STEP; of others it is wrong.
    """
    import openvino  # type: ignore[import-untyped]

    version = openvino.__version__.split("-")[0]
    folder = cache / "openvino" / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}-{version}"
    model = folder / "network.xml"
    if not model.is_file():
        example = torch.from_numpy(known_good((EXAMPLE, EXAMPLE), 2))
        converted = openvino.convert_model(network.eval(), example_input=example, input=[([-1, -1, -1, 3],)])
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            beside = Path(tempfile.mkdtemp(dir=folder.parent))
        except OSError:
            return converted
        beside.chmod(0o755)
        openvino.save_model(converted, beside / model.name, compress_to_fp16=False)
        try:
            beside.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(beside)
    return model


def known_good(canvas: Canvas, count: int = BATCH) -> NDArray[np.uint8]:
    """Pictures, each another, that are the same everywhere: count x height x width x RGB.

    Noise with a photograph's spectrum (Field 1987: amplitudes fall with 1/frequency). On smooth pictures, unlike any
    photo, the rounding errors of bfloat16 grow a hundred times larger.
    """
    height, width = canvas
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    amplitude = (1 / np.maximum(np.hypot(rows, columns), 1 / max(canvas)))[:, :, None]
    pictures = []
    for seed in range(count):
        phase = np.random.default_rng(seed).random((height, width // 2 + 1, 3))
        noise = np.fft.irfft2(amplitude * np.exp(2j * np.pi * phase), s=canvas, axes=(0, 1))
        tinted = 1.5 * noise.mean(axis=2, keepdims=True) + 0.5 * noise
        pictures.append(128 + 60 * (tinted - tinted.mean()) / tinted.std())
    pixels: NDArray[np.uint8] = np.clip(np.stack(pictures), 0, 255).astype(np.uint8)
    return pixels


def cosines(one: Rows, other: Rows) -> Rows:
    """The cosine of each row with the other's; -1 where one is not finite."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosines: Rows = (one * other).sum(axis=1) / np.maximum(lengths, 1e-12)
    return np.nan_to_num(cosines, nan=-1.0)


def _timed(engine: Engine, pictures: Sequence[Pixels], rows: Rows, wanted: Rows) -> Timed:
    """The best of a few rounds: what else runs on the machine only ever makes an engine slower."""
    agreement = float(cosines(rows, wanted).min())
    best, rounds, spent = math.inf, 0, 0.0
    while (rounds < ROUNDS or spent < LEAST_SECONDS) and spent < ENOUGH_SECONDS:
        started = time.perf_counter()
        engine.features(pictures)
        seconds = time.perf_counter() - started
        best, rounds, spent = min(best, seconds), rounds + 1, spent + seconds
    why_not = "" if agreement >= AGREEMENT else f"its features differ from torch's: cosine {agreement:.4f}"
    return Timed(engine.name, best / len(pictures) * 1000, agreement, why_not)


def _by_shape(pictures: Sequence[Pixels], at_most: int | None = None) -> Iterator[tuple[list[int], list[Pixels]]]:
    """Numbers of pictures of one shape, and the pictures; `at_most` so many together."""
    shapes: dict[tuple[int, ...], list[int]] = {}
    for number, picture in enumerate(pictures):
        shapes.setdefault(picture.shape, []).append(number)
    step = at_most or len(pictures)
    for numbers in shapes.values():
        for start in range(0, len(numbers), step):
            some = numbers[start : start + step]
            yield some, [pictures[number] for number in some]


def _in_place(answers: Iterable[tuple[list[int], Rows]]) -> Rows:
    """Answers to some of the pictures each, in whatever order, as one row per picture."""
    numbers, rows = zip(*answers, strict=True)
    as_they_came = np.concatenate(rows)
    in_order: Rows = as_they_came[np.argsort(np.concatenate(numbers))]
    return in_order


def _compiled(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Compiled by Inductor, once for each canvas, whatever the batch size."""
    import torch._dynamo as compiler  # takes seconds, and only a GPU's engine compiles

    # By default it gives up after eight and runs slowly, without a word.
    compiler.config.recompile_limit = MOST_COMPILED
    compiled = torch.compile(network, dynamic=False)  # but for what is marked

    def forward(pictures: Tensor) -> Tensor:
        compiler.maybe_mark_dynamic(pictures, 0)
        return compiled(pictures)  # type: ignore[no-any-return]

    return forward


def _core() -> Any:
    import openvino

    return openvino.Core()


@contextmanager
def _out_of_memory_named() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as why:
        raise OutOfMemory(str(why)) from why
    except RuntimeError as why:
        # The CPU's allocator, CUDA's libraries and pinned memory have no exception type of their own.
        if any(words in str(why) for words in NO_MEMORY):
            raise OutOfMemory(str(why)) from why
        raise
