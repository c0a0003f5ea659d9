"""What a pack says of photos, source by source: figures over all photos are those of the source that has the most.

Hierarchical F1, as MLPerf's product-understanding benchmark has it, gives credit for what is nearly right: precision
and recall over the sets of the product taxonomy's ids from the vertical down to the answer and to the truth, all
photos' sets together.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from math import isnan, nan

import numpy as np

from learning.sources import Sample, judged_numbers
from shared.product_taxonomy import ids_down_to
from shared.vision.decision import Decision
from shared.vision.heads import Array
from shared.vision.pack import Pack
from shared.vision.taxonomy import Judgement
from shared.vision.taxonomy import Path as CategoryPath

SURE = 0.8  # a wrong name with this confidence or more is believed
COSTS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)  # of a wrong name, where a right one gains 1

IdOf = Callable[[Sequence[str]], str]


class Verdict(Enum):
    """What an answer is worth."""

    RIGHT = "right"
    NEAR = "near"  # a node above the truth
    UNKNOWN = "unknown"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said of a photo."""

    source: str
    truth: CategoryPath  # empty for no product
    judgement: Judgement
    verdict: Verdict

    @property
    def is_sure(self) -> bool:
        return self.judgement.confidence >= SURE


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """Shares of a source's photos. Right, near, unknown and wrong add up to 1."""

    source: str
    photos: int
    right: float
    near: float
    unknown: float
    wrong: float
    surely_wrong: float  # of those that are wrong, the ones with a confidence of SURE or more
    f1: float  # nan where neither answers nor truths have an id

    @property
    def shares(self) -> dict[str, float]:
        """By name, the photos' number too; without what no photo told."""
        named = {name: value for name, value in asdict(self).items() if name != "source"}
        return {name: value for name, value in named.items() if not isnan(value)}


def verdict_of(truth: CategoryPath, said: CategoryPath) -> Verdict:
    """Right is the truth, or a node below where the label says no more; of no product, to know none."""
    if said[: len(truth)] == truth and bool(said) == bool(truth):
        return Verdict.RIGHT
    if not said:
        return Verdict.UNKNOWN
    return Verdict.NEAR if truth[: len(said)] == said else Verdict.WRONG


def answers_of(samples: Sequence[Sample], judged: Sequence[Judgement]) -> list[Answer]:
    """One judgement per sample."""
    return [
        Answer(sample.source, sample.category, said, verdict_of(sample.category, said.path))
        for sample, said in zip(samples, judged, strict=True)
    ]


def by_source(answers: Iterable[Answer], id_of: IdOf) -> list[SourceFigures]:
    """A row for each source, in the order in which they come. `id_of` gives a path's id in the product taxonomy."""
    sources = defaultdict[str, list[Answer]](list)
    for answer in answers:
        sources[answer.source].append(answer)
    return [_figures(source, some, id_of) for source, some in sources.items()]


def mean_of(rows: Sequence[SourceFigures]) -> SourceFigures:
    """Of one or more sources, each weighing the same. F1 is that of the sources that have one."""

    def mean(values: Iterable[float]) -> float:
        told = [value for value in values if not isnan(value)]
        return float(np.mean(told)) if told else nan

    return SourceFigures(
        source="mean",
        photos=sum(row.photos for row in rows),
        right=mean(row.right for row in rows),
        near=mean(row.near for row in rows),
        unknown=mean(row.unknown for row in rows),
        wrong=mean(row.wrong for row in rows),
        surely_wrong=mean(row.surely_wrong for row in rows),
        f1=mean(row.f1 for row in rows),
    )


def source_figures(pack: Pack, samples: Sequence[Sample], features: Array) -> dict[str, float]:
    """By name, of each source's photos that a pack is judged by. One row of features per sample."""
    val = judged_numbers(samples)
    rows = by_source(answers_of([samples[i] for i in val], pack.judge(features[val])), pack.taxonomy_id)
    return {f"{row.source}_{name}": value for row in (*rows, mean_of(rows)) for name, value in row.shares.items()}


def hierarchical_f1(pairs: Iterable[tuple[str, str]]) -> float:
    """Of ids said and true ones; "" for none. nan where none is said and none is true."""
    said = true = both = 0
    for answer, truth in pairs:
        answer_ids, truth_ids = set(ids_down_to(answer)), set(ids_down_to(truth))
        said, true, both = said + len(answer_ids), true + len(truth_ids), both + len(answer_ids & truth_ids)
    return 2 * both / (said + true) if said + true else nan


def curve(pack: Pack, samples: Sequence[Sample], features: Array) -> list[tuple[float, SourceFigures]]:
    """For each cost of a wrong name the sources' mean of what the pack would say. One row of features per sample."""
    probabilities = pack.probabilities(features)

    def at(cost: float) -> SourceFigures:
        judged = Decision(pack.taxonomy, cost).judge(probabilities)
        return mean_of(by_source(answers_of(samples, judged), pack.taxonomy_id))

    return [(cost, at(cost)) for cost in COSTS]


def _figures(source: str, answers: Sequence[Answer], id_of: IdOf) -> SourceFigures:
    def share(marks: Iterable[bool]) -> float:
        return sum(marks) / len(answers)

    return SourceFigures(
        source=source,
        photos=len(answers),
        right=share(one.verdict is Verdict.RIGHT for one in answers),
        near=share(one.verdict is Verdict.NEAR for one in answers),
        unknown=share(one.verdict is Verdict.UNKNOWN for one in answers),
        wrong=share(one.verdict is Verdict.WRONG for one in answers),
        surely_wrong=share(one.verdict is Verdict.WRONG and one.is_sure for one in answers),
        f1=hierarchical_f1((id_of(one.judgement.path), id_of(one.truth)) for one in answers),
    )
