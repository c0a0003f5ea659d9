"""What tells known photos from strangers, learned from photos of nothing that a pack should know.

Outlier exposure, Hendrycks et al., Deep Anomaly Detection with Outlier Exposure, ICLR 2019, of one linear layer beside
the distance to the nearest known photo: a stranger may lie near one by chance, and then its direction tells.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize  # type: ignore[import-untyped]
from scipy.special import expit  # type: ignore[import-untyped]

from shared.errors import Unusable
from shared.vision.heads import Array, remoteness

# How much what known photos and strangers say together weighs against keeping the direction short.
EVIDENCE = 3_000
DISTANCE_SCALE = 5  # distances spread less than the other numbers, and should not be held back more
LEAST_OF_DISTANCE = 1  # the log odds of being strange, for each unit of that scale


def fit_direction(landmarks: Array, unseen: Array, strange: Array) -> Array:
    """S: what to take off a photo's remoteness, for each unit that it goes in this direction of the landmarks' space.

    Rows of that space: K landmarks, m known photos that are none, n strangers. Zeros without strangers.
    Raises Unusable when no minimum is found.
    """
    space = landmarks.shape[1]
    if not len(strange):
        return np.zeros(space, np.float32)
    rows = np.concatenate([landmarks, unseen, strange])
    remote = np.concatenate([_remoteness_among(landmarks), remoteness(rows[len(landmarks) :], landmarks)])
    # Photos trained on and others weigh the same, and known ones together as much as strangers.
    weights = np.concatenate([np.full(len(some), 1 / max(len(some), 1)) for some in (landmarks, unseen, strange)])
    weights[: -len(strange)] /= weights[: -len(strange)].sum()
    signs = np.append(np.full(len(landmarks) + len(unseen), -1.0), np.full(len(strange), 1.0))
    inputs = np.concatenate([rows, DISTANCE_SCALE * remote[:, None], np.ones((len(rows), 1))], axis=1, dtype=np.float64)

    def cost(coefficients: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The cost of a logistic regression, and its gradient. The intercept, last, may be what it likes."""
        margins = signs * (inputs @ coefficients)
        held_back = np.append(coefficients[:-1], 0)
        loss = EVIDENCE * (weights @ np.logaddexp(0, -margins)) + held_back @ held_back / 2
        return float(loss), held_back - EVIDENCE * inputs.T @ (weights * signs * expit(-margins))

    # Whatever these strangers say, what is more remote is stranger.
    bounds = [(None, None)] * space + [(LEAST_OF_DISTANCE, None), (None, None)]
    start = np.append(np.zeros(space), [LEAST_OF_DISTANCE, 0])
    fitted = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 2000})
    if fitted.status == 1:  # too many rounds; an exhausted line search is as near as floats get
        raise Unusable(f"strangers can't be learned from ({fitted.message}): give others, or more of them")
    minimum = fitted.x
    direction: Array = (-minimum[:space] / (DISTANCE_SCALE * minimum[space])).astype(np.float32)
    return direction


def _remoteness_among(landmarks: Array) -> Array:
    """How remote each landmark is, as if it were none itself."""
    similarity = landmarks @ landmarks.T
    np.fill_diagonal(similarity, -1)
    lost = 1 - (landmarks * landmarks).sum(axis=1)
    remote: Array = 1 - similarity.max(axis=1) + lost
    return remote
