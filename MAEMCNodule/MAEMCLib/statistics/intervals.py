"""95 % intervals of a share and of an area under the ROC curve, which hold also near 0 and 1 and of few cases; and
the bins of a reliability diagram."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import numpy as np

Z = NormalDist().inv_cdf(0.975)
_HALVINGS = 100


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (Wilson 1927); it holds the share itself, also where rounding would not.

    Both numbers may be effective ones, which are not whole.
    """
    square = Z**2
    middle = (successes + square / 2) / (n + square)
    half = np.sqrt(square * (successes * (n - successes) / n + square / 4)) / (n + square)
    share = successes / n
    return max(0.0, min(share, float(middle - half))), min(1.0, max(share, float(middle + half)))


def area_interval(area: float, sizes: np.ndarray) -> tuple[float, float]:
    """Of an area under the ROC curve: Newcombe's method 5 (Statistics in Medicine 2006;25:559-573).

    The areas whose distance to the observed one is 1.96 of their own standard error by Hanley and McNeil, with the mean
    of both classes' sizes in its last two terms. sizes: (groups, 2) effective numbers of positive and negative cases,
    which are compared within their group.
    """
    pairs = sizes.prod(axis=1)
    size = float((pairs * sizes.mean(axis=1)).sum() / pairs.sum()) - 1

    def excess(truth: float) -> float:
        spread = 1 + size * ((1 - truth) / (2 - truth) + truth / (1 + truth))
        return (truth - area) ** 2 - Z**2 * truth * (1 - truth) * spread / float(pairs.sum())

    tiny = 1e-12
    low = 0.0 if area <= tiny else _root(excess, tiny, min(area, 1 - 1e-9), 0.0)
    high = 1.0 if area >= 1 - tiny else _root(excess, max(area, 1e-9), 1 - tiny, 1.0)
    return low, high


def _root(excess: Callable[[float], float], below: float, above: float, otherwise: float) -> float:
    """Where it is zero between two places, by halving; ``otherwise`` where it has one sign."""
    sign = excess(below)
    if sign * excess(above) >= 0:
        return otherwise
    for _ in range(_HALVINGS):
        middle = (below + above) / 2
        below, above = (middle, above) if excess(middle) * sign > 0 else (below, middle)
    return (below + above) / 2


def equal_mass_bins(probabilities: np.ndarray) -> np.ndarray:
    """(cases,) number of each case's bin: ten bins with equally many cases, fewer below 100 cases (ten a bin, two at
    least). Equal probabilities share a bin, so that bins may merge."""
    count = int(np.clip(len(probabilities) // 10, 2, 10))
    edges = np.unique(np.sort(probabilities)[np.arange(1, count) * len(probabilities) // count])
    return np.unique(np.searchsorted(edges, probabilities, side="right"), return_inverse=True)[1]
