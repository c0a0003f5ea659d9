"""What a pack would say of a source, or of a class, that it never learned from.

Its heads are fitted again without that source's or class's photos; its trunks stay, so what they learned from those
photos stays too. Judged are the same photos as with the whole pack, so that rows can be compared.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from learning.by_source import Answer, Verdict, verdict_of
from learning.sources import PhotosUnusable, Sample, judged_numbers, sources_of
from shared.vision.heads import Array
from shared.vision.pack import Pack
from shared.vision.taxonomy import Judgement
from shared.vision.taxonomy import Path as CategoryPath

CLASS_FOLDS = 8  # one class in so many is held out at a time: heads are fitted so often


class Refit(Protocol):
    """A pack with heads fitted anew: to the samples of the train split, one row of features per sample."""

    def __call__(self, pack: Pack, samples: Sequence[Sample], features: Array, /) -> Pack: ...


Advance = Callable[[int], None]
Asked = NDArray[np.intp]


def without_each_source(
    pack: Pack, samples: Sequence[Sample], features: Array, refit: Refit, advance: Advance = lambda _fits: None
) -> list[Answer]:
    """To the photos of each source that a pack is judged by, from heads that know nothing of the source.

    Raises PhotosUnusable for a single source: it leaves none to fit heads to. `advance` is told of each fit.
    """
    sources = sources_of(samples)
    if len(sources) < 2:
        raise PhotosUnusable(f"of {', '.join(sources)} alone no source can be held out: give another one beside it")
    val = judged_numbers(samples)
    answers: list[Answer] = []
    for source in sources:
        asked = np.array([number for number in val if samples[number].source == source], np.intp)
        kept = np.array([number for number, sample in enumerate(samples) if sample.source != source], np.intp)
        answers += _answers(refit(pack, [samples[i] for i in kept], features[kept]), samples, features, asked)
        advance(1)
    return answers


def without_each_class(
    pack: Pack, samples: Sequence[Sample], features: Array, refit: Refit, advance: Advance = lambda _fits: None
) -> list[Answer]:
    """To the photos of each class that a pack is judged by, from heads that know nothing of it.

    Classes are held out CLASS_FOLDS times, a few at a time: neighbours in the tree one after the other. `advance` is
    told of each fit.
    """
    classes = sorted({sample.category for sample in samples if sample.category})
    val = judged_numbers(samples)
    answers: list[Answer] = []
    for fold in range(CLASS_FOLDS):
        out = set(classes[fold::CLASS_FOLDS])
        asked = np.array([number for number in val if samples[number].category in out], np.intp)
        if len(asked):
            kept = np.array([number for number, one in enumerate(samples) if one.category not in out], np.intp)
            answers += _answers(refit(pack, [samples[i] for i in kept], features[kept]), samples, features, asked)
        advance(1)
    return answers


def verdict_without(nodes: frozenset[CategoryPath], truth: CategoryPath, said: CategoryPath) -> Verdict:
    """As `verdict_of`; but of a truth that is none of the nodes right is the nearest node above, or to know none."""
    if truth in nodes or not truth:
        return verdict_of(truth, said)
    known = next((truth[:depth] for depth in range(len(truth), 0, -1) if truth[:depth] in nodes), ())
    if said == known:
        return Verdict.RIGHT
    if not said:
        return Verdict.UNKNOWN
    return Verdict.NEAR if known[: len(said)] == said else Verdict.WRONG


def _answers(pack: Pack, samples: Sequence[Sample], features: Array, asked: Asked) -> list[Answer]:
    nodes = frozenset(pack.taxonomy.nodes)

    def answer(sample: Sample, said: Judgement) -> Answer:
        verdict = verdict_without(nodes, sample.category, said.path)
        return Answer(sample.source, sample.category, said, verdict)

    judged = pack.judge(features[asked]) if len(asked) else []
    return [answer(samples[number], said) for number, said in zip(asked, judged, strict=True)]
