"""A model pack: a folder with a manifest, the trunk and the heads as safetensors, and a model card.

Nothing is used before its sha256 has been compared with the manifest's, and nothing is unpickled.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file

from shared.errors import Unusable
from shared.vision.heads import Array, Heads, Votes
from shared.vision.taxonomy import Judgement, Taxonomy

MODELS = Path(__file__).resolve().parents[2] / "models"
SHIPPED = MODELS / "builtin"  # the pack that is served unless another is named
MANIFEST = "manifest.json"
HEADS = "heads.safetensors"
TRUNK = "trunk.safetensors"
NAME = "[a-z0-9][a-z0-9-]*"

# What only text on the product tells. A category with one of these is worth reading.
READ_ATTRIBUTES = frozenset({"brand", "size", "volume", "weight", "memory"})


Side = Annotated[int, Field(ge=32, le=1024, description="Pixels")]


class PackUnusable(Unusable):
    """A pack is missing or broken. One line that says which file and why."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TrunkSpec(_Strict):
    """The network that the heads were trained on."""

    architectures: tuple[str, ...] = Field(min_length=1, description="timm's names of the trunks side by side")
    canvases: tuple[tuple[Side, Side], ...] = Field(
        min_length=1, description="Heights and widths; a photo is shown in the one nearest in shape"
    )
    final: int = Field(ge=1, description="Features of the last layers")
    stages: tuple[int, ...] = Field(description="Channels of the stages whose means and spreads follow")

    @property
    def widths(self) -> tuple[int, ...]:
        """How many features belong together, in their order."""
        return (self.final, *(width for width in self.stages for _ in range(2)))

    @property
    def shapes(self) -> str:
        """The canvases, for a reader."""
        return ", ".join(f"{height} x {width}" for height, width in self.canvases)

    @property
    def names(self) -> str:
        """For a reader."""
        return " and ".join(self.architectures)


class VotesSpec(_Strict):
    """See shared.vision.heads.Votes."""

    neighbours: int = Field(ge=1)
    softness: float = Field(gt=0)
    share: float = Field(ge=0, le=1)
    temperature: float = Field(gt=0)

    @property
    def votes(self) -> Votes:
        return Votes(self.neighbours, self.softness, self.share, self.temperature)


class AttributeSpec(_Strict):
    """What is asked of the categories at or below `path`, besides what is asked of those above."""

    path: tuple[str, ...]
    attributes: tuple[str, ...]


class EmbeddingSpec(_Strict):
    """Vectors of two spaces are never compared."""

    space: str
    dimensions: int


class Bars(_Strict):
    """How sure is sure enough."""

    leaf_at_least: float = Field(ge=0, le=1, description="Calibrated probability below which no leaf is named")
    node_at_least: float = Field(ge=0, le=1, description="The same for the nodes above")
    strange_beyond: float = Field(
        allow_inf_nan=False, description="Strangeness beyond which a photo is unknown altogether"
    )


class Manifest(_Strict):
    """Everything about a pack but its weights."""

    name: str = Field(pattern=f"^{NAME}$")
    version: int = Field(ge=1)
    generation: int = Field(ge=1, description="Grows with every pack that supersedes another")
    trunk: TrunkSpec
    taxonomy: tuple[tuple[str, ...], ...] = Field(min_length=2, description="Leaves in the order of the outputs")
    attributes: tuple[AttributeSpec, ...]
    embedding: EmbeddingSpec
    votes: VotesSpec
    bars: Bars
    files: dict[str, str] = Field(description="sha256 of every other file of the pack")
    runs: tuple[dict[str, str], ...] = Field(description="How trunks were trained, oldest first: settings by name")
    photos: dict[str, int] = Field(default={}, description="How many of which it learned from and was measured on")
    measured: dict[str, float] = Field(description="On photos that took no part in training")

    @property
    def pack_name(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Pack:
    """A verified pack, ready to answer."""

    folder: Path
    manifest: Manifest
    taxonomy: Taxonomy
    heads: Heads

    def judge(self, features: Array) -> list[Judgement]:
        """One per row of trunk features. What is strange has an empty path, and the confidence that it is strange."""
        bars = self.manifest.bars
        leaves = self.heads.leaf_probabilities(features, self.manifest.votes.votes)
        strangeness = self.heads.strangeness(features)
        return [
            Judgement((), float(share), complete=False)
            if strange > bars.strange_beyond
            else self.taxonomy.judge(probabilities, bars.leaf_at_least, bars.node_at_least)
            for strange, share, probabilities in zip(
                strangeness, self.heads.share_nearer(strangeness), leaves, strict=True
            )
        ]

    def attributes_of(self, path: Sequence[str]) -> tuple[str, ...]:
        """The names of the attributes that a category can have, from its own and its ancestors' entries."""
        path = tuple(path)
        asked = [spec.attributes for spec in self.manifest.attributes if path[: len(spec.path)] == spec.path]
        return tuple(dict.fromkeys(name for names in asked for name in names))

    def carries_text(self, path: Sequence[str]) -> bool:
        return not READ_ATTRIBUTES.isdisjoint(self.attributes_of(path))


def find_pack(name: str) -> Path:
    """The folder of a pack under models/, or of a path. Raises PackUnusable."""
    for folder in (MODELS / name, Path(name)):
        if (folder / MANIFEST).is_file():
            return folder
    raise PackUnusable(f"no model pack {name!r}: neither under {MODELS} nor a folder with a {MANIFEST}")


def installed_packs() -> list[Path]:
    """Folders of the packs under models/, by name."""
    return sorted(path.parent for path in MODELS.glob(f"*/{MANIFEST}"))


def read_manifest(folder: Path) -> Manifest:
    """Raises PackUnusable."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as why:
        raise PackUnusable(f"{path}: {why.strerror}") from why
    except ValidationError as why:
        first = why.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise PackUnusable(f"{path}: {where}: {first['msg']}") from why


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Raises PackUnusable when a file is missing or not the one that the manifest names."""
    for name in (TRUNK, HEADS):
        if name not in manifest.files:
            raise PackUnusable(f"{folder / MANIFEST}: files: does not name {name}")
    for name, sha256 in manifest.files.items():
        path = folder / name
        try:
            found = sha256_of(path)
        except OSError as why:
            raise PackUnusable(f"{path}: {why.strerror}") from why
        if found != sha256:
            raise PackUnusable(f"{path}: sha256 is {found}, the manifest says {sha256}")


def sha256_of(path: Path) -> str:
    """In hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_pack(name: str) -> Pack:
    """By name or folder; every checksum and the heads' shapes are verified. Raises PackUnusable."""
    folder = find_pack(name)
    manifest = read_manifest(folder)
    verify_files(folder, manifest)
    path = folder / HEADS
    try:
        heads = Heads.from_arrays(load_file(path), manifest.trunk.widths)
    except (SafetensorError, ValueError) as why:
        raise PackUnusable(f"{path}: {why}") from why
    if heads.leaf_bias.shape != (len(manifest.taxonomy),):
        raise PackUnusable(f"{path}: {len(heads.leaf_bias)} outputs for {len(manifest.taxonomy)} leaves")
    if heads.embedding_projection.shape[1] != manifest.embedding.dimensions:
        raise PackUnusable(
            f"{path}: vectors of {heads.embedding_projection.shape[1]}, not {manifest.embedding.dimensions}"
        )
    return Pack(folder, manifest, Taxonomy(manifest.taxonomy), heads)
