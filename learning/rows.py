"""Rows of a classifier, learned beside the classes of a generalist that stays as it is.

Both are of one softmax, so a row speaks only where it outweighs what the generalist sees. Rows have no biases: those
would let them speak for what nobody showed them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.vision.heads import Array

HELD_BACK = 3e-6  # what each squared weight costs at least, of unit rows REACH long
REACH = 8
ROUNDS = 130
HISTORY = 10
NOTHING = -1e9  # the logit of a row that a photo doesn't have

Numbers = NDArray[np.intp]


@dataclass(frozen=True)
class Lesson:
    """n photos to learn from; of L leaves, and L stands for no product."""

    rooted: Array  # n x G, unit rows: see shared.vision.heads.rooted
    classes: Array  # n x C: logits of the generalist's classes
    leaves: Numbers  # n: up to L
    weights: NDArray[np.float64]  # n: what each counts


def fit_rows(lesson: Lesson, class_leaves: Numbers, row_leaves: Sequence[int], shown: Sequence[float]) -> Array:
    """G x R: the rows that give what is on the photos the greatest likelihood, one row for each of the leaves.

    `class_leaves`: C, up to L. A photo of no product teaches rows only to be silent. `shown`: for each row the share of
    its neighbours, leaves that it may be mistaken for, that photos show. The less that is, the more a row is held back:
    what tells a wrench from all that was shown may be true of a hammer too.
    """
    of_row = {leaf: number for number, leaf in enumerate(row_leaves)}
    own = torch.tensor([of_row.get(leaf, -1) for leaf in lesson.leaves.tolist()])
    has_row = own >= 0
    logits = torch.from_numpy(lesson.classes)
    all_classes = logits.logsumexp(1)
    own_classes = _of_leaf(logits, torch.from_numpy(class_leaves), torch.from_numpy(lesson.leaves))
    seen = torch.from_numpy(lesson.rooted) * REACH
    held_back = HELD_BACK / torch.tensor(shown, dtype=torch.float32)
    counts = torch.from_numpy((lesson.weights / lesson.weights.sum()).astype(np.float32))
    weight = torch.zeros((seen.shape[1], len(row_leaves)), requires_grad=True)
    optimiser = torch.optim.LBFGS([weight], max_iter=ROUNDS, history_size=HISTORY, line_search_fn="strong_wolfe")

    def cost() -> Tensor:
        optimiser.zero_grad()
        rows = seen @ weight
        own_row = torch.where(has_row, rows.gather(1, own.clamp_min(0)[:, None])[:, 0], NOTHING)
        likelihood = torch.logaddexp(own_classes, own_row) - torch.logaddexp(all_classes, rows.logsumexp(1))
        loss = held_back @ weight.square().sum(0) - counts @ likelihood
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(cost)  # type: ignore[no-untyped-call]
    fitted: Array = weight.detach().numpy() * np.float32(REACH)
    return fitted


def _of_leaf(logits: Tensor, class_leaves: Tensor, leaves: Tensor) -> Tensor:
    """n: the logarithm of the sum over the classes of a photo's leaf."""
    theirs = class_leaves[None] == leaves[:, None]
    return torch.where(theirs, logits, NOTHING).logsumexp(1)
