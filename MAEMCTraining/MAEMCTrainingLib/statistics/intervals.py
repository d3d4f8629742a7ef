"""95 % intervals that hold the truth as often as they say, also near 0 and 1, of few patients, of several cases of one.

A bootstrap has no interval where all cases are right, and too short a one near there. Hence the exact interval for
rates, Newcombe's for areas under the ROC curve, and what follows from them for means and differences. All of them count
patients: cases of one patient are alike, so that n cases say as much as a smaller number of independent ones.
Those that need no scipy are the library's (``MAEMCLib.statistics.intervals``).
``Testing/benchmarks/intervals.py`` simulates how often they hold.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import beta

NONE = (None, None)
Interval = tuple[float | None, float | None]


def effective_size(values: np.ndarray, patients: np.ndarray) -> float:
    """How many independent cases would give the mean of the values as exactly as these cases do.

    values, patients: (cases,). The number of cases over the design effect, which is the variance of the mean between
    patients (Rao and Scott, Biometrics 1992;48:577-585) over that of independent cases. At most the number of cases; at
    least what it is where all cases of a patient are alike. Of equal values, which have no variance, the number of
    patients.
    """
    values = np.asarray(values, float)
    index = np.unique(patients, return_inverse=True)[1].ravel()
    cases, sizes = len(values), np.bincount(index)
    count = len(sizes)
    away = values - values.mean()
    alone = float((away**2).sum())
    if count in (1, cases) or alone < 1e-12:
        return float(count)
    together = count / (count - 1) * float((np.bincount(index, away) ** 2).sum())
    return float(np.clip(cases * alone / max(together, 1e-300), cases**2 / (sizes**2).sum(), cases))


def rate_interval(right: np.ndarray, patients: np.ndarray) -> Interval:
    """Of a share of cases, right (cases,) bool: Clopper and Pearson's on the effective number of cases (Korn and
    Graubard, Survey Methodology 1998;24:193-201). None with fewer than two patients.
    """
    right = np.asarray(right, float)
    if len(np.unique(patients)) < 2:
        return NONE
    n = effective_size(right, patients)  # no whole number: hence the quantiles, and not scipy's binomtest
    hits = float(right.mean()) * n
    low = float(beta.ppf(0.025, hits, n - hits + 1)) if hits > 0 else 0.0
    high = float(beta.ppf(0.975, hits + 1, n - hits)) if n - hits > 1e-9 else 1.0
    return low, high


def mean_interval(
    values: Sequence[float], intervals: Sequence[Interval], correlations: np.ndarray | None = None
) -> Interval:
    """Of the mean of several values from their intervals (Zou and Donner, Statistics in Medicine 2008;27:1693-1702).

    correlations: (values, values); None: independent. None where one of the intervals is.
    """
    if any(low is None for low, _ in intervals):
        return NONE
    middle, limits = np.asarray(values, float), np.asarray(intervals, float).T
    correlations = np.eye(len(middle)) if correlations is None else correlations
    below, above = (
        float(np.sqrt(max(0.0, away @ correlations @ away))) / len(middle)
        for away in (middle - limits[0], limits[1] - middle)
    )
    return float(middle.mean()) - below, float(middle.mean()) + above


def difference_interval(
    one: float, other: float, interval: Interval, other_interval: Interval, correlation: float
) -> Interval:
    """Of one minus other from their intervals and the correlation of the two; after the same authors."""
    if None in (*interval, *other_interval):
        return NONE
    (low, high), (other_low, other_high) = interval, other_interval

    def reach(away: float, other_away: float) -> float:
        return float(np.sqrt(max(0.0, away**2 + other_away**2 - 2 * correlation * away * other_away)))

    return one - other - reach(one - low, other_high - other), one - other + reach(high - one, other - other_low)


def correlations(rows: Sequence[np.ndarray], otherwise: float) -> np.ndarray:
    """(rows, rows) of bootstrap samples; ``otherwise`` where a row does not vary, as at the edge."""
    table = np.asarray(rows, float)
    table = table[:, np.isfinite(table).all(axis=0)]
    found = np.full((len(table), len(table)), float(otherwise))
    varies = table.std(axis=1) > 1e-12 if table.shape[1] > 1 else np.zeros(len(table), bool)
    if varies.any():
        found[np.ix_(varies, varies)] = np.corrcoef(table[varies])
    np.fill_diagonal(found, 1.0)
    return found
