"""Bootstrap samples of patients, and what a weighted AUC and an interval are of them.

Patients are drawn, with all their cases, from each stratum of patients whose cases have the same classes, so that every
sample holds the classes in their proportion.
"""

import numpy as np
from MAEMCLib.report.sections import Metric

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
