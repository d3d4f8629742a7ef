"""How good predictions are, with intervals by patient.

Positive is malignant. Rates and areas under the ROC curve have the intervals of ``intervals``, which hold also where
nearly all cases are right. The others are the 2.5th and 97.5th percentile of 2000 bootstrap samples that draw patients,
with all their cases, from each stratum (patients with benign, malignant or both kinds of cases), so that every sample
holds both classes in their proportion. No interval is given where a class has one patient, where more than one sample
in twenty has no value (those that have one are then a selection), or where all samples are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from MAEMCLib.errors import InputError

from .calibration import calibrated_error, calibration_error, equal_mass_bins, recalibration
from .intervals import (
    Interval,
    area_interval,
    correlations,
    difference_interval,
    effective_size,
    mean_interval,
    rate_interval,
)

RESAMPLES = 2000
INTERVALS = (
    "Intervals: 95 %, by patient; exact (Clopper-Pearson) for rates, Newcombe's for AUCs, 2000 bootstrap samples for "
    "the calibration's figures. A dash or a value alone: too few patients for an interval."
)
"""What a report says of them."""
_CHUNK = 1024  # bounds the memory of a table of pairs


@dataclass(frozen=True)
class Metric:
    """A value with its 95 % interval; n: the cases that it is a mean over. None where it cannot be computed."""

    value: float | None
    low: float | None
    high: float | None
    n: int


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve by ranks: the chance that a positive scores above a negative, ties counting half.

    Raises InputError without cases of both classes.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, float)
    _check_both_classes(labels)
    return float(_weighted_auc(labels, scores, np.ones((1, len(labels))), np.zeros(len(labels)))[0])


def _check_both_classes(labels: np.ndarray) -> None:
    if not ((labels == 0).any() and (labels == 1).any()):
        raise InputError("An AUC needs cases of both classes.", "single-class")


def _weighted_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """AUC over the pairs of one group, for each row of case weights (rows, cases).

    One comparison of all pairs serves all bootstrap samples.
    """
    positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    wins, pairs = np.zeros((2, len(weights), len(negative)))
    for rows in (positive[start : start + _CHUNK] for start in range(0, len(positive), _CHUNK)):
        difference = scores[rows][:, None] - scores[negative][None, :]
        compared = groups[rows][:, None] == groups[negative][None, :]
        wins += weights[:, rows] @ (compared * ((difference > 0) + 0.5 * (difference == 0)))
        pairs += weights[:, rows] @ compared
    return _divide((wins * weights[:, negative]).sum(axis=1), (pairs * weights[:, negative]).sum(axis=1))


def patient_weights(labels: np.ndarray, patients: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """(resamples, cases) how often each case is drawn when patients are drawn with replacement in their stratum."""
    draws = np.random.Generator(np.random.Philox(key=[seed, 0x626F6F74]))
    numbers, patient_of = np.unique(patients, return_inverse=True)
    benign, malignant = (np.bincount(patient_of, labels == label, len(numbers)) > 0 for label in (0, 1))
    kinds = benign + 2 * malignant
    counts = np.zeros((resamples, len(numbers)))
    first = len(numbers) * np.arange(resamples)[:, None]  # of each row's cells in the flat table
    for kind in np.unique(kinds):
        members = np.flatnonzero(kinds == kind)
        drawn = members[draws.integers(0, len(members), size=(resamples, len(members)))]
        counts += np.bincount((first + drawn).ravel(), minlength=counts.size).reshape(counts.shape)
    return counts[:, patient_of]


def evaluate(
    labels: np.ndarray,
    probabilities: np.ndarray,
    patients: np.ndarray,
    threshold: float | np.ndarray = 0.5,
    folds: np.ndarray | None = None,
    scores: np.ndarray | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Metric]:
    """AUC, the rates at a threshold, Brier score, expected calibration error (ECE), calibration slope and intercept.

    "ece_if_calibrated" is the ECE that the same probabilities would have if they were right: it is not 0, and larger
    with fewer cases.

    All arrays are (cases,). A case is called malignant where its probability reaches the threshold, which may be each
    case's own. scores: what the AUC ranks by, where that is not the probability (calibrating each fold by the others
    shifts folds against each other). With folds, also "auc_within_folds", over pairs that the same model scored:
    pooling the scores of several models, as "auc" does, ranks cases by which model scored them too.
    Raises InputError: one class only, probabilities that are none (NaN, outside [0, 1]).
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, float)
    scores = probabilities if scores is None else np.asarray(scores, float)
    _check_both_classes(labels)
    check_probabilities(probabilities)
    table = _samples(labels, patients, resamples, seed)
    slope, intercept = recalibration(labels, probabilities, table)
    bins = equal_mass_bins(probabilities)
    rows = {
        "brier": table @ (probabilities - labels) ** 2 / table.sum(axis=1),
        "ece": calibration_error(labels, probabilities, bins, table),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
    }
    found = {"auc": area(labels, scores, patients), **rates(labels, probabilities, patients, threshold)}
    enough = fewest_patients(labels, patients) >= 2
    for name, row in rows.items():
        found[name] = with_interval(row if enough else row[:1], len(labels))
    found["ece_if_calibrated"] = Metric(*calibrated_error(probabilities, bins, seed), len(labels))
    if folds is not None:
        found["auc_within_folds"] = area(labels, scores, patients, np.asarray(folds))
    return found


def fewest_patients(labels: np.ndarray, patients: np.ndarray) -> int:
    """Of the class that fewer patients have cases of."""
    return min(len(np.unique(np.asarray(patients)[labels == label])) for label in np.unique(labels))


def area(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray, groups: np.ndarray | None = None) -> Metric:
    """AUC with Newcombe's interval on the effective numbers of cases; groups: (cases,) what alone is compared.

    A case's weight in the AUC is how many of the other class it ranks right: of these its class's effective number is
    taken. No interval with one patient in a class, or where all scores are alike, which rank nothing.
    """
    labels, scores, patients = np.asarray(labels), np.asarray(scores, float), np.asarray(patients)
    groups = np.zeros(len(labels)) if groups is None else groups
    wins, pairs = _wins_and_pairs(labels, scores, groups)
    positive = labels == 1
    if not pairs[positive].sum():
        return Metric(None, None, None, len(labels))
    value = float(wins[positive].sum() / pairs[positive].sum())
    if fewest_patients(labels, patients) < 2 or np.ptp(scores) == 0:
        return Metric(value, None, None, len(labels))
    surplus = wins - value * pairs
    names, counts = np.unique(groups, return_inverse=True)[1].ravel(), []
    for chosen in (positive, ~positive):
        share = effective_size(surplus[chosen], patients[chosen]) / chosen.sum()
        counts.append(share * np.bincount(names[chosen], minlength=names.max() + 1))
    return Metric(value, *area_interval(value, np.stack(counts, axis=1)), len(labels))


def _wins_and_pairs(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(cases,) how many cases of the other class in its group each is ranked right with, ties half; of how many."""
    positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    wins, pairs = np.zeros((2, len(labels)))
    for rows in (positive[start : start + _CHUNK] for start in range(0, len(positive), _CHUNK)):
        difference = scores[rows][:, None] - scores[negative][None, :]
        compared = groups[rows][:, None] == groups[negative][None, :]
        won = compared * ((difference > 0) + 0.5 * (difference == 0))
        wins[rows], pairs[rows] = won.sum(axis=1), compared.sum(axis=1)
        wins[negative] += won.sum(axis=0)
        pairs[negative] += compared.sum(axis=0)
    return wins, pairs


def rates(
    labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray, threshold: float | np.ndarray
) -> dict[str, Metric]:
    """Of ``evaluate``'s, those that depend on the threshold."""
    labels, patients = np.asarray(labels), np.asarray(patients)
    called, sick = np.asarray(probabilities, float) >= threshold, labels == 1
    everything = np.ones(len(labels), bool)
    found = {
        "accuracy": rate(called == sick, everything, patients),
        "sensitivity": rate(called, sick, patients),
        "specificity": rate(~called, ~sick, patients),
        "ppv": rate(sick, called, patients),
        "npv": rate(~sick, ~called, patients),
    }
    both = [found["sensitivity"], found["specificity"]]
    return found | {"balanced_accuracy": mean_of(both, len(labels))}


def rate(right: np.ndarray, among: np.ndarray, patients: np.ndarray) -> Metric:
    """The share of cases that are right among some, (cases,) bool each, with the exact interval on patients."""
    n = int(among.sum())
    if not n:
        return Metric(None, None, None, 0)
    return Metric(float(right[among].mean()), *rate_interval(right[among], patients[among]), n)


def mean_of(parts: Sequence[Metric], n: int, together: np.ndarray | None = None) -> Metric:
    """The mean of several values with its interval from theirs. together: their correlations; None: independent."""
    if any(part.value is None for part in parts):
        return Metric(None, None, None, n)
    values = [part.value for part in parts]
    return Metric(float(np.mean(values)), *mean_interval(values, [limits(part) for part in parts], together), n)


def limits(metric: Metric) -> Interval:
    """The interval alone."""
    return metric.low, metric.high


def _samples(labels: np.ndarray, patients: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """(1 + resamples, cases): the cases themselves, then how often each is in each bootstrap sample."""
    return np.vstack([np.ones(len(labels)), patient_weights(labels, np.asarray(patients), resamples, seed)])


def check_probabilities(probabilities: np.ndarray) -> None:
    """Raises InputError where one is NaN or lies outside [0, 1]."""
    wrong = int((~((probabilities >= 0) & (probabilities <= 1))).sum())
    if wrong:
        raise InputError(
            f"{wrong} of {len(probabilities)} predictions are no probabilities (NaN, or outside 0 to 1). "
            "The model's training has diverged, or the file of predictions is damaged: train again.",
            "no-probability",
        )


def auc_difference(
    labels: np.ndarray,
    scores: np.ndarray,
    others: np.ndarray,
    patients: np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Metric:
    """AUC of scores minus that of others on the same cases.

    The interval follows from those of both and from how they go together over bootstrap samples of patients.
    """
    labels, table = np.asarray(labels), _samples(np.asarray(labels), patients, resamples, seed)
    columns = [np.asarray(values, float) for values in (scores, others)]
    areas = [area(labels, column, patients) for column in columns]
    rows = [_weighted_auc(labels, column, table, np.zeros(len(labels))) for column in columns]
    return difference_of(*areas, *rows)


def difference_of(one: Metric, other: Metric, row: np.ndarray, other_row: np.ndarray) -> Metric:
    """One minus other with its interval. row, other_row: both on bootstrap samples.

    No interval where both go together exactly, as of models that rank all cases alike: it would have no width.
    """
    difference, n = one.value - other.value, one.n
    varying = [np.nanstd(samples) > 1e-12 for samples in (row, other_row)]
    if all(varying) and np.allclose(row - other_row, difference, atol=1e-12, rtol=0, equal_nan=True):
        return Metric(difference, None, None, n)
    # What ranks nothing has one value on whatever cases.
    intervals = [
        (metric.value, metric.value) if metric.low is None and not varies and fixed == 0.5 else limits(metric)
        for metric, varies, fixed in zip((one, other), varying, (row[0], other_row[0]), strict=True)
    ]
    low, high = difference_interval(
        one.value, other.value, *intervals, float(correlations([row, other_row], otherwise=0.0)[0, 1])
    )
    return Metric(difference, None, None, n) if low == high else Metric(difference, low, high, n)


def confusion(labels: np.ndarray, probabilities: np.ndarray, threshold: float | np.ndarray) -> dict[str, int]:
    """The four counts behind all rates: tp, fp, tn, fn."""
    called, sick = np.asarray(probabilities) >= threshold, np.asarray(labels) == 1
    return {
        "tp": int((called & sick).sum()),
        "fp": int((called & ~sick).sum()),
        "tn": int((~called & ~sick).sum()),
        "fn": int((~called & sick).sum()),
    }


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0)


def with_interval(row: np.ndarray, n: int) -> Metric:
    """The first entry is the value on the cases themselves, the others are the bootstrap samples'."""
    value, samples = row[0], row[1:][np.isfinite(row[1:])]
    if not np.isfinite(value):
        return Metric(None, None, None, n)
    if len(samples) < 0.95 * (len(row) - 1) or not len(samples):
        return Metric(float(value), None, None, n)
    low, high = np.percentile(samples, [2.5, 97.5])
    if high - low < 1e-12:  # as certain as that no cases make a figure
        return Metric(float(value), None, None, n)
    return Metric(float(value), float(low), float(high), n)


def rank_only(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> dict[str, dict[str, Any]]:
    """The AUC alone, as JSON values: of scores that are no probabilities."""
    return {"auc": asdict(area(labels, scores, patients))}
