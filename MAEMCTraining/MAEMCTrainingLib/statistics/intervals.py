"""95 % intervals that hold the truth as often as they say, also near 0 and 1, of few patients, of several cases of one.

A bootstrap has no interval where all cases are right, and too short a one near there. Hence the exact interval for
rates, Newcombe's for areas under the ROC curve, and what follows from them for means and differences. All of them count
patients: cases of one patient are alike, so that n cases say as much as a smaller number of independent ones.
Those that need no scipy are the library's (``MAEMCLib.statistics.intervals``).
``Testing/benchmarks/intervals.py`` simulates how often they hold.

All else has a bootstrap: patients are drawn, with all their cases, from each stratum of patients whose cases have the
same classes, so that every sample holds the classes in their proportion.
"""

from collections.abc import Sequence

import numpy as np
from MAEMCLib.report.sections import Metric
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


RESAMPLES = 2000


def patient_samples(labels: np.ndarray, patients: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """(1 + resamples, cases): the cases themselves, then how often each is in each bootstrap sample of patients.

    labels: (cases,) 0 ... C - 1; the order of the classes is that in which the strata are drawn.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, 0x626F6F74]))
    numbers, patient_of = np.unique(patients, return_inverse=True)
    held = np.zeros((len(numbers), int(labels.max()) + 1), bool)
    held[patient_of, labels] = True
    strata = np.unique(held, axis=0, return_inverse=True)[1].ravel()
    counts = np.zeros((resamples, len(numbers)))
    first = len(numbers) * np.arange(resamples)[:, None]  # of each row's cells in the flat table
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        drawn = members[rng.integers(0, len(members), size=(resamples, len(members)))]
        counts += np.bincount((first + drawn).ravel(), minlength=counts.size).reshape(counts.shape)
    return np.vstack([np.ones(len(labels)), counts[:, patient_of]])


def two_class_samples(
    labels: np.ndarray, patients: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """``patient_samples`` of labels 0 and 1, the malignant being the first class: so all figures of two classes are
    drawn."""
    return patient_samples(1 - np.asarray(labels, int), patients, resamples, seed)


def weighted_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(rows,) AUC under each row of case weights (rows, cases), ties counting half; NaN where a class has no weight."""
    order = np.argsort(scores)
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf) > 0)  # of each distinct score
    positive, negative = (np.add.reduceat((weights * (labels == label))[:, order], starts, axis=1) for label in (1, 0))
    below = np.cumsum(negative, axis=1) - negative / 2
    return divide((positive * below).sum(axis=1), positive.sum(axis=1) * negative.sum(axis=1))


def divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """NaN where nothing is counted."""
    return np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0)


def with_interval(row: np.ndarray, n: int) -> Metric:
    """The first entry is the value on the cases themselves, the others are the bootstrap samples'."""
    value, samples = float(row[0]), row[1:][np.isfinite(row[1:])]
    if not np.isfinite(value):
        return Metric(None, None, None, n)
    if len(samples) >= max(1, 0.95 * (len(row) - 1)):
        low, high = map(float, np.percentile(samples, [2.5, 97.5]))
        if high - low >= 1e-12:  # else as certain as that no cases make a figure
            return Metric(value, low, high, n)
    return Metric(value, None, None, n)


def mean_by_patients(values: np.ndarray, patients: np.ndarray) -> Metric:
    """The mean of (cases,) values with its interval by bootstrap of patients."""
    weights = two_class_samples(np.zeros(len(values)), patients)
    return with_interval(weights @ values / weights.sum(axis=1), len(values))
