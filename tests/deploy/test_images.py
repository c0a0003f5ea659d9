"""Both images build, are no larger than they need be, and what they were built for starts in them."""

import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.processes import free_port
from shared.stream.admin import create_topics
from tests.deploy.images import Images

GIB = 1024**3
START_SECONDS = 120.0


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    folder = tmp_path_factory.mktemp("images")
    made = Images(folder)
    made.import_python()
    yield made
    shutil.rmtree(folder)  # gigabytes, of which pytest would keep those of three runs


# As the gateway does, which no test here starts beside the worker.
PLANT = """
import asyncio
from shared.photo_store import open_photo_store
from shared.stream.known_good import plant
asyncio.run(plant(open_photo_store("{store}")))
"""


@pytest.fixture(scope="module")
def base(images: Images) -> Iterator[str]:
    images.build("base")
    with images.container("base") as container:
        yield container


@pytest.fixture(scope="module")
def inference(images: Images) -> Iterator[str]:
    images.build("inference")
    with images.container("inference") as container:
        yield container


def ready(port: int) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()
    except OSError as why:
        return 0, str(why)


def starts(images: Images, container: str, log: Path, *command: str, **variables: str) -> None:
    """Fails when its /readyz does not say that all is well."""
    port = free_port()
    given = {"VITRINE_METRICS_PORT": str(port), "VITRINE_DRAIN_SECONDS": "0", **variables}
    with images.running(container, log, "python", "-m", *command, **given) as process:
        deadline = time.monotonic() + START_SECONDS
        while (answer := ready(port))[0] != 200:
            if time.monotonic() > deadline or process.poll() is not None:
                pytest.fail(f"{command}: /readyz is {answer}:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)


def with_topics(kafka: str) -> str:
    create_topics(kafka)
    return kafka


@pytest.mark.timeout(1200)
def test_the_base_image_is_small_takes_photos_in_and_looks_listings_up(
    images: Images, base: str, kafka: str, redis_url: str, tmp_path: Path
) -> None:
    assert images.bytes_of(base) <= 0.5 * GIB
    assert images.run(base, "vitrine", "--version").startswith("vitrine")
    serve = ("services.recommendation", "serve")
    starts(images, base, tmp_path / "serve.log", *serve, VITRINE_REDIS=redis_url, VITRINE_GRPC_PORT=str(free_port()))
    intake = {
        "VITRINE_KAFKA": with_topics(kafka),
        "VITRINE_PHOTO_STORE": f"/tmp/{tmp_path.name}-{os.getpid()}",
    }
    starts(images, base, tmp_path / "gateway.log", "services.gateway", VITRINE_HTTP_PORT=str(free_port()), **intake)


@pytest.mark.timeout(1200)
def test_the_inference_image_carries_no_cuda_and_classifies(
    images: Images, inference: str, kafka: str, tmp_path: Path
) -> None:
    assert images.bytes_of(inference) <= 2.5 * GIB
    # A pod's only folder that can be written to.
    store = f"/tmp/{tmp_path.name}-{os.getpid()}"
    given = {"VITRINE_KAFKA": with_topics(kafka), "VITRINE_PHOTO_STORE": store, "VITRINE_THREADS": "2"}
    images.run(inference, "python", "-c", PLANT.format(store=store))
    log = tmp_path / "classification.log"
    starts(images, inference, log, "services.classification", **given)
    # The image brings the converted network; without CUDA's libraries torch still works, and says that there is no GPU.
    assert "the fastest that agrees with torch" in log.read_text()
    said = images.run(inference, "python", "-c", "import torch; print(torch.cuda.is_available(), torch.ones(2).sum())")
    assert said == "False tensor(2.)"
    demanded = images.run(
        inference,
        "sh",
        "-c",
        "VITRINE_DEVICE=cuda python -m services.classification 2>&1 | grep -c 'torch finds no CUDA device' || true",
    )
    assert demanded == "1"
