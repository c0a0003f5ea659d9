"""The embedding's projection, trained so that photos of one class lie close, and views of one photo closest.

It begins as linear discriminants. Then views of the same photos, as they might have been taken, are told apart by class
(a softmax over cosines to each class's centre, as in Wang et al., NormFace, ACM MM 2017) and one photo from another
(InfoNCE, van den Oord et al. 2018).
"""

import numpy as np
import scipy.linalg  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from shared.vision.heads import Array

DIMENSIONS = 256
SHRINKAGE = 0.3

EPOCHS = 12
BATCH = 256
RATE = 1e-3
CLASS_TEMPERATURE = 0.1
INSTANCE_TEMPERATURE = 0.1
INSTANCE_SHARE = 0.2


def fit_embedding(rows: Array, views: Array, labels: NDArray[np.intp], seed: int = 1) -> tuple[Array, Array]:
    """Mean (F) and projection (F x DIMENSIONS), from n x F described features and n x V x F of views of the photos."""
    mean, start = discriminants(rows, labels)
    return mean, trained(start, rows - mean, views - mean, labels, seed)


def discriminants(rows: Array, labels: NDArray[np.intp]) -> tuple[Array, Array]:
    """Mean and projection to DIMENSIONS: the directions in which photos vary most beside what varies within a class.

    Linear discriminant analysis, shrunk towards the plain covariance, so that what tells two things of one class apart
    stays in.
    """
    mean = rows.mean(axis=0)
    centred = (rows - mean).astype(np.float64)
    of_class = np.stack([centred[labels == c].mean(axis=0) for c in range(labels.max() + 1)])
    within = centred - of_class[labels]
    covariance = within.T @ within / len(rows)
    shrunk = covariance + SHRINKAGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    features = len(shrunk)
    last = (max(0, features - DIMENSIONS), features - 1)
    _, directions = scipy.linalg.eigh(centred.T @ centred, shrunk, subset_by_index=last)
    projection = directions[:, ::-1]
    scaled = projection / np.abs(centred @ projection).mean()
    return mean, scaled.astype(np.float32)


def trained(start: Array, rows: Array, views: Array, labels: NDArray[np.intp], seed: int) -> Array:
    """The projection after EPOCHS over the photos: n x F and n x V x F, both centred."""
    torch.manual_seed(seed)
    shown = torch.from_numpy(np.concatenate([rows[:, None], views], axis=1))
    leaf = torch.from_numpy(labels.astype(np.int64))
    projection = nn.Parameter(torch.from_numpy(start))
    vectors = functional.normalize(shown[:, 0] @ projection.detach())
    centres = nn.Parameter(torch.stack([vectors[leaf == c].mean(0) for c in range(int(leaf.max()) + 1)]))
    # Relative to the projection's own size, or a step would mean another thing for each trunk.
    size = float(projection.detach().abs().mean())
    optimiser = torch.optim.Adam([{"params": [projection], "lr": RATE * size}, {"params": [centres], "lr": RATE}])
    steps = max(1, len(shown) // BATCH)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS * steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(shown)).tensor_split(steps):
            loss = _loss(shown[batch], leaf[batch], projection, centres)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            cosine.step()
    learned: Array = projection.detach().numpy()
    return learned


def _loss(shown: Tensor, leaf: Tensor, projection: Tensor, centres: Tensor) -> Tensor:
    """The loss of two views of each photo, of all that there are."""
    picked = torch.rand(shown.shape[:2]).argsort(dim=1)[:, :2]
    one, other = functional.normalize(shown[torch.arange(len(shown))[:, None], picked] @ projection, dim=2).unbind(1)
    to_centres = torch.cat([one, other]) @ functional.normalize(centres).T / CLASS_TEMPERATURE
    of_class = functional.cross_entropy(to_centres, torch.cat([leaf, leaf]))
    to_others = one @ other.T / INSTANCE_TEMPERATURE
    same = torch.arange(len(shown))
    of_photo = (functional.cross_entropy(to_others, same) + functional.cross_entropy(to_others.T, same)) / 2
    return (1 - INSTANCE_SHARE) * of_class + INSTANCE_SHARE * of_photo
