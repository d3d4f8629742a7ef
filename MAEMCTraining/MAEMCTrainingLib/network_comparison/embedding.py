"""Where cases lie by their pixels or features: t-SNE for the eye, and figures of how well that tells classes apart.

The axes of a t-SNE mean nothing, and neither do distances between its groups (van der Maaten and Hinton 2008): the
correlation of a coordinate with the class describes the drawing alone. The nearest neighbor among the cases of other
patients asks the features themselves.
"""

from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from ..engine.rng import generator
from ..statistics.intervals import mean_by_patients

SEED = 20256
LARGEST_PERPLEXITY = 30.0
SHUFFLES = 1000


def perplexity_for(cases: int) -> float:
    """30 as usual, and at most a third of the other cases: with few cases everybody would be everybody's neighbor."""
    return min(LARGEST_PERPLEXITY, (cases - 1) / 3)


def tsne(values: np.ndarray) -> np.ndarray | None:
    """(cases, 2) of (cases, width), by scikit-learn with a fixed seed, from the first two principal components.

    None where all cases are the same.
    """
    from sklearn.manifold import TSNE

    centered = values - values.mean(axis=0)
    if np.abs(centered).max() <= 1e-5 * max(np.abs(values).max(), 1e-12):
        return None
    method = TSNE(perplexity=perplexity_for(len(values)), init="pca", random_state=SEED)
    return method.fit_transform(centered.astype(np.float32)).astype(np.float64)


def correlations(rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(rows, cases) -> (rows,): the correlation ratio of each coordinate with the class, 0 to 1, which is how much of
    its variance lies between the classes. Of two classes it is the absolute Pearson correlation with 0 and 1.
    """
    members = classes[:, None] == np.unique(classes)
    centered = rows - rows.mean(axis=1, keepdims=True)
    between = ((centered @ members) ** 2 / members.sum(axis=0)).sum(axis=1)
    total = (centered**2).sum(axis=1)
    return np.sqrt(np.clip(np.divide(between, total, out=np.zeros(len(rows)), where=total > 0), 0.0, 1.0))


def correlation_by_chance(values: np.ndarray, classes: np.ndarray) -> float:
    """What the correlation stays below in 95 % of ``SHUFFLES`` random assignments of the same classes to the cases."""
    rng = generator(SEED, "shuffles")
    shuffled = rng.permuted(np.broadcast_to(values, (SHUFFLES, len(values))), axis=1)
    return float(np.percentile(correlations(shuffled, classes), 95))


def nearest_is_of_own_class(values: np.ndarray, classes: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """(cases,) bool: whether the nearest case (Euclidean) of another patient is of the same class.

    Of the own patient's cases none counts: they look alike, whatever the class. At least two patients.
    """
    distances = cdist(values, values)
    distances[patients[:, None] == patients] = np.inf
    return classes[distances.argmin(axis=1)] == classes


def majority_share(classes: np.ndarray) -> float:
    """What naming the most frequent class always would reach."""
    return float(np.unique(classes, return_counts=True)[1].max() / len(classes))


def class_figures(
    values: np.ndarray, plane: np.ndarray, classes: np.ndarray, patients: np.ndarray, unseen: np.ndarray | None
) -> dict[str, Any]:
    """How well one space tells the classes apart.

    values: (cases, width). plane: their t-SNE (cases, 2). classes, patients: (cases,) whole numbers. unseen: (cases,)
    bool, those whose own figure is given too; None where there is no such part.
    """
    right = nearest_is_of_own_class(values, classes, patients)
    figures = {
        "nearest": _share(right, patients),
        "nearest_in_tsne": _share(nearest_is_of_own_class(plane, classes, patients), patients),
        "correlation": correlations(plane.T, classes).tolist(),
        "correlation_by_chance": [correlation_by_chance(axis, classes) for axis in plane.T],
    }
    if unseen is not None:
        figures["nearest_of_unseen"] = _share(right[unseen], patients[unseen])
    return figures


def _share(right: np.ndarray, patients: np.ndarray) -> dict[str, Any]:
    return asdict(mean_by_patients(right, patients))
