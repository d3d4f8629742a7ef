"""The three thresholds that a model is used at, chosen on validation cases and frozen (methods.md 6.1, row 37)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from MAEMCLib.report.sections import Metric

from .metrics import confusion, rates

FEWEST_CASES = 20
"""Validation cases of each class below which neither thresholds nor a calibration are chosen from the data."""
POINTS = ("rule_out", "balanced", "rule_in")


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, the four counts at it and the rates that follow from them."""

    threshold: float
    counts: Mapping[str, int]
    metrics: Mapping[str, Metric]


def too_few(labels: np.ndarray, cases: np.ndarray) -> str | None:
    """Why nothing is chosen on these predictions, or None.

    cases: (predictions,) which case each is of; a case that several models validated counts once.
    """
    fewest = min(len(np.unique(cases[labels == label])) for label in (0, 1))
    if fewest >= FEWEST_CASES:
        return None
    return (
        f"the rarer class has {fewest} validation cases, and thresholds and a calibration need at least {FEWEST_CASES}"
    )


def choose_thresholds(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Three operating points of validation predictions, in order; without cases of both classes all are 0.5.

    rule_out: the highest threshold with a sensitivity of at least 0.95; rule_in: the lowest with a specificity of at
    least 0.95; balanced: the highest sum of the two (Youden). Of a model so good that the first two cross, both are
    the balanced one, where they hold as well: no case is ruled in and out at once.
    """
    sick, well = np.sort(probabilities[labels == 1]), np.sort(probabilities[labels == 0])
    if not (len(sick) and len(well)):
        return dict.fromkeys(POINTS, 0.5)
    candidates = np.unique(np.concatenate([probabilities, [1.0]]))
    sensitivity = 1 - np.searchsorted(sick, candidates) / len(sick)
    specificity = np.searchsorted(well, candidates) / len(well)
    balanced = float(candidates[np.argmax(sensitivity + specificity)])
    into = candidates[specificity >= 0.95]
    # Where even the highest probability has false positives among 5 %, nothing is ruled in.
    rule_in = float(into.min()) if len(into) else 1.0
    return {
        "rule_out": min(float(candidates[sensitivity >= 0.95].max()), balanced),
        "balanced": balanced,
        "rule_in": max(rule_in, balanced),
    }


def at_points(
    labels: np.ndarray,
    probabilities: np.ndarray,
    patients: np.ndarray,
    thresholds: Mapping[str, float],
    used: Mapping[str, np.ndarray] | None = None,
) -> dict[str, OperatingPoint]:
    """The rates with intervals and the four counts at each threshold and at 0.5 ("half").

    thresholds: those stated. used: the threshold of each case, where folds have their own.
    """
    thresholds = {**thresholds, "half": 0.5}
    applied = {**thresholds, **(used or {})}
    return {
        name: OperatingPoint(
            stated,
            confusion(labels, probabilities, applied[name]),
            rates(labels, probabilities, patients, applied[name]),
        )
        for name, stated in thresholds.items()
    }
