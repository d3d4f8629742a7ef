"""How good predictions are, with intervals by patient.

Positive is malignant. Intervals are the 2.5th and 97.5th percentile of 2000 bootstrap samples that draw patients, with
all their cases, from each stratum (patients with benign, malignant or both kinds of cases), so that every sample holds
both classes in their proportion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from MAEMCLib.errors import InputError

RESAMPLES = 2000
FEWEST_CASES = 20
"""Cases of each class below which neither thresholds nor a calibration are chosen from the data."""


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
    kinds = np.array([(labels[patient_of == p] == 0).any() + 2 * (labels[patient_of == p] == 1).any()
                      for p in range(len(numbers))])  # fmt: skip
    counts = np.zeros((resamples, len(numbers)))
    for kind in np.unique(kinds):
        members = np.flatnonzero(kinds == kind)
        drawn = members[draws.integers(0, len(members), size=(resamples, len(members)))]
        for row in range(resamples):
            counts[row] += np.bincount(drawn[row], minlength=len(numbers))
    return counts[:, patient_of]


def evaluate(
    labels: np.ndarray,
    probabilities: np.ndarray,
    patients: np.ndarray,
    threshold: float = 0.5,
    folds: np.ndarray | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Metric]:
    """AUC, accuracy, sensitivity, specificity, PPV, NPV, balanced accuracy and Brier score; all (cases,) arrays.

    With folds, also "auc_within_folds", over pairs that the same model scored: pooling the scores of several models, as
    "auc" does, ranks cases by which model scored them too.
    A case is called malignant where its probability reaches the threshold. Raises InputError for one class only.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, float)
    _check_both_classes(labels)
    weights = patient_weights(labels, np.asarray(patients), resamples, seed)
    table = np.vstack([np.ones(len(labels)), weights])
    called, sick = probabilities >= threshold, labels == 1
    cells = {
        "tp": table @ (called & sick),
        "fp": table @ (called & ~sick),
        "tn": table @ (~called & ~sick),
        "fn": table @ (~called & sick),
    }
    tp, fp, tn, fn = cells.values()
    everything = tp + fp + tn + fn
    sensitivity, specificity = _divide(tp, tp + fn), _divide(tn, tn + fp)
    values = {
        "auc": (_weighted_auc(labels, probabilities, table, np.zeros(len(labels))), everything),
        "accuracy": (_divide(tp + tn, everything), everything),
        "sensitivity": (sensitivity, tp + fn),
        "specificity": (specificity, tn + fp),
        "ppv": (_divide(tp, tp + fp), tp + fp),
        "npv": (_divide(tn, tn + fn), tn + fn),
        "balanced_accuracy": ((sensitivity + specificity) / 2, everything),
        "brier": (_divide(table @ (probabilities - labels) ** 2, everything), everything),
    }
    if folds is not None:
        values["auc_within_folds"] = (_weighted_auc(labels, probabilities, table, np.asarray(folds)), everything)
    return {name: _with_interval(row, int(n[0])) for name, (row, n) in values.items()}


def confusion(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict[str, int]:
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


def _with_interval(row: np.ndarray, n: int) -> Metric:
    """The first entry is the value on the cases themselves, the others are the bootstrap samples'."""
    value, samples = row[0], row[1:][np.isfinite(row[1:])]
    if not np.isfinite(value) or not len(samples):
        return Metric(None, None, None, n)
    low, high = np.percentile(samples, [2.5, 97.5])
    return Metric(float(value), float(low), float(high), n)


def choose_thresholds(labels: np.ndarray, probabilities: np.ndarray) -> tuple[dict[str, float], str | None]:
    """Three operating points, to be chosen on validation cases and then frozen.

    rule_out: the highest threshold with a sensitivity of at least 0.95; rule_in: the lowest with a specificity of at
    least 0.95; balanced: the highest sum of the two (Youden). With fewer than 20 cases of a class all three are 0.5.
    Returns them and the reason for falling back, or None.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, float)
    fewest = min(int((labels == 0).sum()), int((labels == 1).sum()))
    if fewest < FEWEST_CASES:
        reason = f"the rarer class has {fewest} validation cases and thresholds need at least {FEWEST_CASES}"
        return {"rule_out": 0.5, "balanced": 0.5, "rule_in": 0.5}, reason
    candidates = np.unique(np.concatenate([probabilities, [1.0]]))
    called = probabilities[None, :] >= candidates[:, None]
    sensitivity = called[:, labels == 1].mean(axis=1)
    specificity = 1 - called[:, labels == 0].mean(axis=1)
    out = candidates[sensitivity >= 0.95].max()
    into = candidates[specificity >= 0.95]
    return {
        "rule_out": float(out),
        "balanced": float(candidates[np.argmax(sensitivity + specificity)]),
        # Where even the highest probability has false positives among 5 %, nothing is ruled in.
        "rule_in": float(into.min()) if len(into) else 1.0,
    }, None
