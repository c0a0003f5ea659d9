"""A pack of five categories that sees pictures of 4 x 4 pixels, and photos for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from learning.sources import CLOTHING, GROCERY, Sample
from learning.training import features_of
from shared.vision.heads import Array, Heads, Widths, described, rooted, unit_rows
from shared.vision.pack import CategorySpec, EmbeddingSpec, Manifest, Pack, TrunkSpec, VotesSpec
from shared.vision.runtime import Runtime
from shared.vision.taxonomy import Taxonomy
from tests.fakes_vision import jpeg, scenery

HAT, SHIRT = ("garments", "hat"), ("garments", "shirt")
KIWI, LIME = ("groceries", "Fruit", "Kiwi", "Kiwi"), ("groceries", "Fruit", "Citrus", "Lime")
LEMON = ("groceries", "Fruit", "Citrus", "Lemon")
LEAVES = (HAT, SHIRT, LEMON, LIME, KIWI)
SIDE = 32
CANVASES = ((SIDE, SIDE),)
SMALL = 4  # the fake trunk's features are the pixels of so small a picture
WIDTH = SMALL * SMALL * 3
WIDTHS = Widths((WIDTH,), ())
ALIKE = np.float32(1000)  # the logit of a photo that is known, whose cosine with itself is 1
NEARLY = np.float32(0.995)  # the cosine with a known photo at which a photo may as well be no product


class Shrunk:
    """A trunk that sees a picture of 4 x 4 pixels."""

    name = "shrunk"

    def features(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        blocks = np.stack(pictures).reshape(len(pictures), SMALL, SIDE // SMALL, SMALL, SIDE // SMALL, 3)
        rows: np.ndarray = blocks.mean(axis=(2, 4)).reshape(len(pictures), WIDTH).astype(np.float32)
        return rows


RUNTIME = Runtime(Shrunk(), ())


def sample(category: tuple[str, ...], seed: int, split: str = "val", **more: Any) -> Sample:
    source = CLOTHING if category[0] == "garments" else GROCERY
    return Sample(jpeg(scenery(seed, 96, 128)), category, split, group=str(seed), source=source, **more)


def samples() -> list[Sample]:
    """A val and a train photo of each category; hats are for kids."""
    found = []
    for seed, category in enumerate(LEAVES):
        kids = category == HAT if category[0] == "garments" else None
        found += [sample(category, seed, kids=kids), sample(category, seed + 100, "train", kids=kids)]
    return found


def features(some: Sequence[Sample]) -> Array:
    return features_of(some, RUNTIME, CANVASES, lambda _n: None)


def pack_of(rows: Array, leaves: Sequence[int]) -> Pack:
    """Knows these rows, and that all else is no product: a row of the classifier for each, beside a class for none."""
    seen = described(rows, WIDTHS)
    mean = seen.mean(axis=0)
    heads = Heads(
        class_weight=np.zeros((WIDTH, 1), np.float32),
        class_bias=np.full(1, ALIKE * NEARLY, np.float32),
        class_leaves=np.full(1, len(LEAVES), np.float32),
        row_weight=ALIKE * rooted(rows, WIDTHS).T,
        row_leaves=np.array(leaves, np.float32),
        audience_weight=np.zeros(WIDTH, np.float32),
        audience_bias=np.ones(1, np.float32),
        embedding_mean=mean,
        embedding_projection=np.eye(WIDTH, dtype=np.float32),
        voters=unit_rows(seen - mean),
        voter_leaves=np.array(leaves, np.float32),
        widths=WIDTHS,
        leaves=len(LEAVES),
    )
    manifest = Manifest(
        name="tiny",
        version=1,
        generation=1,
        trunk=TrunkSpec(architectures=("shrunk",), canvases=CANVASES, finals=(WIDTH,), stages=()),
        taxonomy=LEAVES,
        categories=(
            CategorySpec(path=()),
            *(CategorySpec(path=node, no_taxonomy="made up") for node in Taxonomy(LEAVES).nodes),
        ),
        embedding=EmbeddingSpec(space="tiny@1", dimensions=WIDTH),
        votes=VotesSpec(neighbours=1, softness=0.05, share=1.0),
        wrong_name=1.0,
        files={},
        runs=(),
        measured={},
    )
    return Pack(Path("nowhere"), manifest, Taxonomy(LEAVES), heads)


def knowing_all(some: Sequence[Sample]) -> Pack:
    return pack_of(features(some), [LEAVES.index(one.category) for one in some])
