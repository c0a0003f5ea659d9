"""A model pack: a folder with a manifest, the trunk and the heads as safetensors, and a model card.

Nothing is used before its sha256 has been compared with the manifest's, and nothing is unpickled.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load_file

from shared.errors import Unusable
from shared.product_taxonomy import product_taxonomy
from shared.vision.calibration import Temperatures
from shared.vision.decision import Decision
from shared.vision.heads import Array, Heads, Votes, Widths
from shared.vision.taxonomy import Judgement, Taxonomy
from shared.vision.taxonomy import Path as CategoryPath

MODELS = Path(__file__).resolve().parents[2] / "models"
SHIPPED = MODELS / "builtin"  # the pack that is served unless another is named
MANIFEST = "manifest.json"
HEADS = "heads.safetensors"
TRUNK = "trunk.safetensors"
NAME = "[a-z0-9][a-z0-9-]*"

# What only text on the product tells. A category with one of these is worth reading.
READ_ATTRIBUTES = frozenset({"brand", "size", "volume", "weight", "memory"})

# Leaves that a photo may show: how many are told, and from which probability on.
MOST_CANDIDATES, CANDIDATE_FROM = 8, 0.02
T = TypeVar("T")

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
    finals: tuple[Annotated[int, Field(ge=1)], ...] = Field(description="Features of each trunk's last layer")
    stages: tuple[int, ...] = Field(description="Channels of the stages whose means and spreads follow")

    @model_validator(mode="after")
    def _is_of_one_network(self) -> Self:
        if len(self.finals) != len(self.architectures):
            raise ValueError(f"{len(self.finals)} finals for {len(self.architectures)} architectures")
        return self

    @property
    def widths(self) -> Widths:
        """How many features belong together, in their order."""
        return Widths(self.finals, tuple(width for width in self.stages for _ in range(2)))

    @property
    def shapes(self) -> str:
        """The canvases, for a reader."""
        return ", ".join(f"{height} x {width}" for height, width in self.canvases)

    @property
    def names(self) -> str:
        """The architectures, for a reader."""
        return " and ".join(self.architectures)


class VotesSpec(_Strict):
    """See shared.vision.heads.Votes."""

    neighbours: int = Field(ge=1)
    softness: float = Field(gt=0)
    share: float = Field(ge=0, le=1)

    @property
    def votes(self) -> Votes:
        return Votes(self.neighbours, self.softness, self.share)


class CategorySpec(_Strict):
    """What the categories at or below `path` mean. Attributes add up; of the rest the deepest entry that says it
    counts.

    Everything else that is peculiar to a category's name follows from here: no service knows a category by its name.
    """

    path: tuple[str, ...] = Field(description="From the most general node; empty for all categories")
    taxonomy: str | None = Field(default=None, description="The product taxonomy's id for it: see vitrine taxonomy")
    no_taxonomy: str | None = Field(
        default=None, min_length=1, description="Why it has none; it is known by the id of the nearest node above"
    )
    attributes: tuple[str, ...] = Field(default=(), description="Names of what is asked of them")
    brands: tuple[str, ...] | None = Field(
        default=None, description="The lists of shared/brands.toml that may be on them; [] for none"
    )
    largest_print_is_brand: bool | None = Field(default=None, description="Where no brand is known; else a slogan")
    bare_sizes: bool | None = Field(default=None, description="Whether an M that stands alone is a size")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a category means: everything that a manifest says of it."""

    taxonomy_id: str = ""  # of the deepest node that has one
    attributes: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    largest_print_is_brand: bool = False
    bare_sizes: bool = False

    @property
    def carries_text(self) -> bool:
        return not READ_ATTRIBUTES.isdisjoint(self.attributes)


class EmbeddingSpec(_Strict):
    """Vectors of two spaces are never compared."""

    space: str
    dimensions: int


class Manifest(_Strict):
    """Everything about a pack but its weights."""

    name: str = Field(pattern=f"^{NAME}$")
    version: int = Field(ge=1)
    generation: int = Field(ge=1, description="Grows with every pack that supersedes another")
    trunk: TrunkSpec
    taxonomy: tuple[tuple[str, ...], ...] = Field(min_length=2, description="Leaves in the order of the outputs")
    categories: tuple[CategorySpec, ...]
    embedding: EmbeddingSpec
    votes: VotesSpec
    temperatures: dict[str, Annotated[float, Field(ge=1, allow_inf_nan=False)]] = Field(
        default={}, description="By vertical, what softens probabilities among its leaves; 1 where none is said"
    )
    wrong_name: float = Field(
        ge=0,
        allow_inf_nan=False,
        description="What a wrong name costs, where none costs nothing and a right leaf gains 1",
    )
    files: dict[str, str] = Field(description="sha256 of every other file of the pack")
    runs: tuple[dict[str, str], ...] = Field(description="How trunks were trained, oldest first: settings by name")
    photos: dict[str, int] = Field(default={}, description="How many of which it learned from and was measured on")
    measured: dict[str, float] = Field(description="On photos that took no part in training")

    @model_validator(mode="before")
    @classmethod
    def _says_what_categories_mean(cls, said: Any) -> Any:
        if isinstance(said, dict) and "attributes" in said and "categories" not in said:
            raise ValueError(
                "it has attributes and no categories, as manifests had before they said what categories mean: "
                "replace attributes by categories, which models/builtin/manifest.json shows"
            )
        return said

    @model_validator(mode="before")
    @classmethod
    def _has_no_kinds(cls, said: Any) -> Any:
        categories = said.get("categories", ()) if isinstance(said, dict) else ()
        if any(isinstance(one, dict) and "kinds" in one for one in categories):
            raise ValueError(
                "categories: leave kinds out: what claims are compared with is taxonomy, the product taxonomy's id "
                "(`vitrine taxonomy find`), or no_taxonomy with the reason why there is none, of each category"
            )
        return said

    @model_validator(mode="before")
    @classmethod
    def _has_no_bars(cls, said: Any) -> Any:
        if isinstance(said, dict) and "bars" in said:
            raise ValueError("bars: packs made before wrong_name took their place have other heads too: train it anew")
        return said

    @model_validator(mode="before")
    @classmethod
    def _has_no_temperature_for_all(cls, said: Any) -> Any:
        votes = said.get("votes") if isinstance(said, dict) else None
        if isinstance(votes, dict) and "temperature" in votes:
            raise ValueError(
                "votes: leave temperature out: each vertical has its own in temperatures, and 1 where none is said"
            )
        return said

    @model_validator(mode="after")
    def _leaves_nothing_unsaid(self) -> Self:
        """What is misspelled or left out would be lost without a word: brands, audience, ids, temperatures."""
        nodes = {leaf[:depth] for leaf in self.taxonomy for depth in range(len(leaf) + 1)}
        for spec in self.categories:
            if spec.path not in nodes:
                raise ValueError(f"categories: {_spelled(spec.path)} is not in the taxonomy")
        if unknown := self.temperatures.keys() - {leaf[0] for leaf in self.taxonomy}:
            raise ValueError(f"temperatures: {min(unknown)} is no vertical of the taxonomy")
        self._check_taxonomy_ids(nodes - {()})
        for leaf in self.taxonomy:
            above = self._entries_of(leaf)
            if any("brand" in spec.attributes for spec in above) and all(spec.brands is None for spec in above):
                raise ValueError(f"categories: no brands for {_spelled(leaf)}, of which a brand is asked; [] for none")
        return self

    def _check_taxonomy_ids(self, nodes: Set[tuple[str, ...]]) -> None:
        stated = [spec for spec in self.categories if spec.taxonomy is not None]
        for spec in stated:
            if spec.taxonomy not in product_taxonomy():
                raise ValueError(
                    f"categories: the product taxonomy has no id {spec.taxonomy!r} for {_spelled(spec.path)}: "
                    "`vitrine taxonomy find` says which there are"
                )
        told = Counter(spec.path for spec in (*stated, *(s for s in self.categories if s.no_taxonomy is not None)))
        if twice := next((path for path, times in told.items() if times > 1), None):
            raise ValueError(f"categories: taxonomy and no_taxonomy are both said of {_spelled(twice)}, or one twice")
        if silent := sorted(nodes - told.keys()):
            more = f" and {len(silent) - 1} more" if len(silent) > 1 else ""
            raise ValueError(
                f"categories: neither taxonomy nor no_taxonomy is said of {_spelled(silent[0])}{more}: give each an "
                "entry with the product taxonomy's id (`vitrine taxonomy find`) or with the reason why it has none"
            )

    @property
    def pack_name(self) -> str:
        return f"{self.name}@{self.version}"

    def meaning_of(self, path: Sequence[str]) -> Meaning:
        """What a path means, as far as it goes."""
        entries = self._entries_of(path)
        return Meaning(
            taxonomy_id=_deepest((spec.taxonomy for spec in entries), ""),
            attributes=tuple(dict.fromkeys(name for spec in entries for name in spec.attributes)),
            brands=_deepest((spec.brands for spec in entries), ()),
            largest_print_is_brand=_deepest((spec.largest_print_is_brand for spec in entries), False),
            bare_sizes=_deepest((spec.bare_sizes for spec in entries), False),
        )

    def _entries_of(self, path: Sequence[str]) -> list[CategorySpec]:
        """Those at or above a path, the general ones first."""
        path = tuple(path)
        return sorted(
            (spec for spec in self.categories if path[: len(spec.path)] == spec.path), key=lambda spec: len(spec.path)
        )


@dataclass(frozen=True)
class Pack:
    """A verified pack, ready to answer."""

    folder: Path
    manifest: Manifest
    taxonomy: Taxonomy
    heads: Heads

    def judge(self, features: Array) -> list[Judgement]:
        """One per row of trunk features. What is not worth naming has an empty path."""
        return self._decision.judge(self.probabilities(features))

    def probabilities(self, features: Array) -> Array:
        """Rows x leaves, calibrated. What a row lacks to 1 is the probability of no product."""
        leaves = self.heads.leaf_probabilities(features, self.manifest.votes.votes)
        return self._temperatures.applied(leaves)

    def classify(self, features: Array) -> list[tuple[Judgement, list[tuple[CategoryPath, float]]]]:
        """As judge; and the leaves that a row may show with their probabilities, the likeliest first.

        The probabilities sum to 1 at most: the rest are other leaves, or no product.
        """
        leaves = self.probabilities(features)
        likeliest = (self.taxonomy.likeliest(row, MOST_CANDIDATES, CANDIDATE_FROM) for row in leaves)
        return list(zip(self._decision.judge(leaves), likeliest, strict=True))

    def meaning_of(self, path: Sequence[str]) -> Meaning:
        """What a category means, as far down as it is known."""
        return self._meanings.get(tuple(path)) or self.manifest.meaning_of(path)

    def taxonomy_id(self, path: Sequence[str]) -> str:
        """The product taxonomy's id of the deepest node of a path that has one; "" for none, so for an empty path."""
        return self.meaning_of(path).taxonomy_id

    def attributes_of(self, path: Sequence[str]) -> tuple[str, ...]:
        """The names of the attributes that a category can have, from its own and its ancestors' entries."""
        return self.meaning_of(path).attributes

    @cached_property
    def _temperatures(self) -> Temperatures:
        return Temperatures(self.taxonomy, self.manifest.temperatures)

    @cached_property
    def _decision(self) -> Decision:
        return Decision(self.taxonomy, self.manifest.wrong_name)

    @cached_property
    def _meanings(self) -> dict[tuple[str, ...], Meaning]:
        return {node: self.manifest.meaning_of(node) for node in ((), *self.taxonomy.nodes)}


def _spelled(path: Sequence[str]) -> str:
    return "/".join(path) or "all"


def _deepest(said: Iterable[T | None], otherwise: T) -> T:
    """The last that is said."""
    return next((one for one in reversed(list(said)) if one is not None), otherwise)


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
            actual = sha256_of(path)
        except OSError as why:
            raise PackUnusable(f"{path}: {why.strerror}") from why
        if actual != sha256:
            raise PackUnusable(f"{path}: sha256 is {actual}, the manifest says {sha256}")


def sha256_of(path: Path) -> str:
    """The file's sha256 in hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_pack(name: str) -> Pack:
    """The pack of this name or in this folder, its checksums and its heads' shapes verified. Raises PackUnusable."""
    folder = find_pack(name)
    manifest = read_manifest(folder)
    verify_files(folder, manifest)
    path = folder / HEADS
    try:
        heads = Heads.from_arrays(load_file(path), manifest.trunk.widths, len(manifest.taxonomy))
    except (SafetensorError, ValueError) as why:
        raise PackUnusable(f"{path}: {why}") from why
    if heads.embedding_projection.shape[1] != manifest.embedding.dimensions:
        raise PackUnusable(
            f"{path}: vectors of {heads.embedding_projection.shape[1]}, not {manifest.embedding.dimensions}"
        )
    return Pack(folder, manifest, Taxonomy(manifest.taxonomy), heads)
