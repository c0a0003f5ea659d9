"""Writes a trained pack: trunk, heads, and a manifest that names the sha256 of each."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from learning.training import Trained
from learning.vocabulary import categories_of
from shared.vision.heads import Heads
from shared.vision.pack import (
    HEADS,
    MANIFEST,
    TRUNK,
    EmbeddingSpec,
    Manifest,
    TrunkSpec,
    VotesSpec,
    sha256_of,
)
from shared.vision.trunk import Network, save_network

WRONG_NAME = 0.3  # `vitrine evaluate pack --curve` shows what other costs give

# Too many to keep at full precision, and none of them needs it.
_HALVED = ("class_weight", "row_weight", "embedding_projection", "voters")


def write_weights(folder: Path, network: Network, heads: Heads) -> None:
    arrays: dict[str, NDArray[np.generic]] = {
        name: array.astype(np.float16) if name in _HALVED else array
        for name, array in vars(heads).items()
        if name not in ("widths", "leaves")
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_network(network, folder / TRUNK)
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / HEADS)
    # safetensors makes it for the owner only, and a container serves as someone else.
    (folder / HEADS).chmod(0o644)


def manifest_of(
    folder: Path, trained: Trained, trunk: TrunkSpec, runs: Sequence[Mapping[str, str]], version: int, generation: int
) -> Manifest:
    """The manifest of weights that lie in the folder already, whose name is the pack's; without figures."""
    name = folder.name
    return Manifest(
        name=name,
        version=version,
        generation=generation,
        trunk=trunk,
        taxonomy=trained.taxonomy.leaves,
        categories=categories_of(trained.taxonomy),
        embedding=EmbeddingSpec(space=f"{name}@{version}", dimensions=int(trained.heads.embedding_projection.shape[1])),
        votes=VotesSpec(**asdict(trained.votes)),
        temperatures=dict(trained.temperatures),
        wrong_name=WRONG_NAME,
        files={file: sha256_of(folder / file) for file in (TRUNK, HEADS)},
        runs=tuple(map(dict, runs)),
        measured={},
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1, exclude_none=True) + "\n")
