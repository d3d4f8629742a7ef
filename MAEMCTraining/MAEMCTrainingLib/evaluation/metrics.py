"""How good predictions are, with intervals by patient.

Positive is malignant. Intervals are the 2.5th and 97.5th percentile of 2000 bootstrap samples that draw patients, with
all their cases, from each stratum (patients with benign, malignant or both kinds of cases), so that every sample holds
both classes in their proportion. No interval is given where more than one sample in twenty has no value: those that
have one are then a selection.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from MAEMCLib.errors import InputError

from .calibration import calibration_error, equal_mass_bins, recalibration

RESAMPLES = 2000


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
    chunk = 1024  # bounds the memory of the table of pairs
    for start in range(0, len(positive), chunk):
        rows = positive[start : start + chunk]
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
    everything = table.sum(axis=1)
    slope, intercept = recalibration(labels, probabilities, table)
    bins = equal_mass_bins(probabilities)
    together = np.zeros(len(labels))
    values = {
        "auc": (_weighted_auc(labels, scores, table, together), everything),
        **_rates(labels, probabilities, threshold, table),
        "brier": (_divide(table @ (probabilities - labels) ** 2, everything), everything),
        "ece": (calibration_error(labels, probabilities, bins, table), everything),
        "calibration_slope": (slope, everything),
        "calibration_intercept": (intercept, everything),
    }
    if folds is not None:
        values["auc_within_folds"] = (_weighted_auc(labels, scores, table, np.asarray(folds)), everything)
    return {name: with_interval(row, int(n[0])) for name, (row, n) in values.items()}


def rates(
    labels: np.ndarray,
    probabilities: np.ndarray,
    patients: np.ndarray,
    threshold: float | np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Metric]:
    """Of ``evaluate``'s, those that depend on the threshold."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, float)
    table = _samples(labels, patients, resamples, seed)
    values = _rates(labels, probabilities, threshold, table)
    return {name: with_interval(row, int(n[0])) for name, (row, n) in values.items()}


def _samples(labels: np.ndarray, patients: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """(1 + resamples, cases): the cases themselves, then how often each is in each bootstrap sample."""
    return np.vstack([np.ones(len(labels)), patient_weights(labels, np.asarray(patients), resamples, seed)])


def _rates(
    labels: np.ndarray, probabilities: np.ndarray, threshold: float | np.ndarray, table: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    called, sick = probabilities >= threshold, labels == 1
    tp, fp = table @ (called & sick), table @ (called & ~sick)
    tn, fn = table @ (~called & ~sick), table @ (~called & sick)
    everything = tp + fp + tn + fn
    sensitivity, specificity = _divide(tp, tp + fn), _divide(tn, tn + fp)
    return {
        "accuracy": (_divide(tp + tn, everything), everything),
        "sensitivity": (sensitivity, tp + fn),
        "specificity": (specificity, tn + fp),
        "ppv": (_divide(tp, tp + fp), tp + fp),
        "npv": (_divide(tn, tn + fn), tn + fn),
        "balanced_accuracy": ((sensitivity + specificity) / 2, everything),
    }


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
    """AUC of scores minus that of others on the same cases; both are computed on each bootstrap sample of patients."""
    labels = np.asarray(labels)
    table = _samples(labels, patients, resamples, seed)
    one, two = (_weighted_auc(labels, np.asarray(s, float), table, np.zeros(len(labels))) for s in (scores, others))
    return with_interval(one - two, len(labels))


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
    return Metric(float(value), float(low), float(high), n)


def rank_only(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> dict[str, dict[str, Any]]:
    """The AUC alone, as JSON values: of scores that are no probabilities."""
    labels = np.asarray(labels)
    row = _weighted_auc(
        labels, np.asarray(scores, float), _samples(labels, patients, RESAMPLES, 0), np.zeros(len(labels))
    )
    return {"auc": asdict(with_interval(row, len(labels)))}
