"""Do probabilities mean what they say, and a correction where they do not.

Platt scaling: logit p' = slope * logit p + intercept, fitted on out-of-fold predictions. Chosen over a temperature
(the same with the intercept at 0) because class weights and early stopping shift the prior that a network has learned,
which a temperature cannot move. After it, the probability's prior is the cohort's share of malignant cases.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from MAEMCLib.errors import InputError
from MAEMCLib.statistics.intervals import equal_mass_bins, wilson
from scipy.special import expit, logit

from .intervals import effective_size

LARGEST_LOGIT = 16.0
"""Beyond this a probability says 0 or 1 to seven digits; finite, so that sums over cases stay finite."""
_ROWS = 256


@dataclass(frozen=True)
class Calibration:
    """slope and intercept of the logit; as a bundle's card states them and ``Predictor`` applies them.

    cases: how many it stands for. reason: why there is none.
    """

    slope: float = 1.0
    intercept: float = 0.0
    calibrated: bool = False
    method: str | None = None
    cases: int = 0
    reason: str | None = None

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of the same shape; the same ones where nothing was fitted."""
        if (self.slope, self.intercept) == (1.0, 0.0):
            return probabilities
        return expit(self.slope * logits(probabilities) + self.intercept)


def logits(probabilities: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)), kept within 16 of zero."""
    with np.errstate(divide="ignore"):
        return np.clip(logit(probabilities), -LARGEST_LOGIT, LARGEST_LOGIT)


def fit_platt(labels: np.ndarray, probabilities: np.ndarray) -> Calibration:
    """Platt scaling of (cases,) probabilities, with his targets.

    The targets (n+ + 1) / (n+ + 2) and 1 / (n- + 2) instead of 1 and 0 keep the slope finite where the classes are
    apart (Platt 1999, Probabilistic outputs for support vector machines, section 2.2). Raises InputError: one class.
    """
    positive, negative = int((labels == 1).sum()), int((labels == 0).sum())
    if not (positive and negative):
        raise InputError("A calibration needs cases of both classes.", "single-class")
    targets = np.where(labels == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))
    slope, intercept = _fit_line(logits(probabilities), targets, np.ones((1, len(labels))))
    if not np.isfinite(slope[0]):  # one and the same probability for all cases: only the prior is known
        slope, intercept = [0.0], [logit(targets.mean())]
    return Calibration(float(slope[0]), float(intercept[0]), True, "platt", len(labels))


def recalibration(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Calibration slope and intercept, (rows,) each: the logistic regression of the labels on the logits.

    1 and 0 for a calibrated model; a slope below 1 means probabilities too far from the middle. weights: (rows, cases)
    of bootstrap samples. NaN where the probabilities separate the classes (the slope is infinite) or are all equal.
    """
    x, sick = logits(probabilities), labels == 1
    slope, intercept = _fit_line(x, sick.astype(float), weights)
    apart = np.array([_separated(x[row > 0], sick[row > 0]) for row in weights])
    return np.where(apart, np.nan, slope), np.where(apart, np.nan, intercept)


def _separated(x: np.ndarray, sick: np.ndarray) -> bool:
    if sick.all() or not sick.any():
        return True
    return bool(x[~sick].max() <= x[sick].min() or x[sick].max() <= x[~sick].min())


def _fit_line(x: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and intercepts (rows,) of weighted logistic regressions on one value, by Newton's method.

    A step that would raise the loss is halved. x is standardized meanwhile, for the sake of the step's scale.
    """
    center, scale = x.mean(), x.std()
    if scale < 1e-9:
        return np.full(len(weights), np.nan), np.full(len(weights), np.nan)
    z = (x - center) / scale
    slopes, intercepts = np.zeros((2, len(weights)))
    for start in range(0, len(weights), _ROWS):  # bounds the memory
        rows = slice(start, start + _ROWS)
        slopes[rows], intercepts[rows] = _newton(z, targets, weights[rows])
    return slopes / scale, intercepts - slopes * center / scale


def _newton(z: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.zeros((2, len(weights)))

    def loss(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        line = a[:, None] * z + b[:, None]
        return (weights * (np.logaddexp(0, line) - targets * line)).sum(axis=1)

    now = loss(a, b)
    for _ in range(60):
        p = expit(a[:, None] * z + b[:, None])
        residual, curvature = weights * (p - targets), weights * p * (1 - p)
        gradient = np.stack([residual @ z, residual.sum(axis=1)])
        aa, ab, bb = curvature @ z**2 + 1e-9, curvature @ z, curvature.sum(axis=1) + 1e-9
        determinant = np.maximum(aa * bb - ab**2, 1e-18)
        step = np.stack([bb * gradient[0] - ab * gradient[1], aa * gradient[1] - ab * gradient[0]]) / determinant
        share = np.ones(len(weights))
        for _ in range(30):
            then = loss(a - share * step[0], b - share * step[1])
            worse = then > now + 1e-12
            if not worse.any():
                break
            share[worse] /= 2
        a, b, now = a - share * step[0], b - share * step[1], then
        if np.abs(share * step).max() < 1e-9:
            break
    return a, b


def calibration_rows(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> tuple[dict[str, np.ndarray], tuple[float, float, float]]:
    """ "ece", "calibration_slope" and "calibration_intercept", (rows,) each, and the error that the same probabilities
    would have if they were right, with its interval. weights: (rows, cases) of bootstrap samples."""
    slope, intercept = recalibration(labels, probabilities, weights)
    bins = equal_mass_bins(probabilities)
    error = calibration_error(labels, probabilities, bins, weights)
    rows = {"ece": error, "calibration_slope": slope, "calibration_intercept": intercept}
    return rows, calibrated_error(probabilities, bins)


def calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, bins: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Expected calibration error, (rows,): mean over cases of their bin's |observed share - mean probability|."""
    member = bins[:, None] == np.arange(bins.max() + 1)
    gap = weights @ (member * (labels - probabilities)[:, None])
    return np.abs(gap).sum(axis=1) / weights.sum(axis=1)


def calibrated_error(probabilities: np.ndarray, bins: np.ndarray) -> tuple[float, float, float]:
    """The expected calibration error that these probabilities would have if they were right: the mean of 2000 draws of
    labels with them, and the 2.5th and 97.5th percentile.
    """
    rng = np.random.Generator(np.random.Philox(key=[0, 0x656365]))
    member = bins[:, None] == np.arange(bins.max() + 1)
    drawn = rng.random((2000, len(probabilities))) < probabilities
    errors = np.abs((drawn - probabilities) @ member).sum(axis=1) / len(probabilities)
    return float(errors.mean()), *(float(value) for value in np.percentile(errors, [2.5, 97.5]))


def reliability(labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray) -> list[dict[str, Any]]:
    """The bins of a reliability diagram, lowest first: range, cases, mean probability, observed share of malignant.

    The interval of the share is Wilson's, 95 %, on the effective number of cases: a bootstrap has none for a bin whose
    cases are all of one class. All arrays: (cases,).
    """
    bins, table = equal_mass_bins(probabilities), []
    for number in range(bins.max() + 1):
        inside = bins == number
        n, malignant = int(inside.sum()), int(labels[inside].sum())
        effective = effective_size(labels[inside], patients[inside])
        low, high = wilson(malignant / n * effective, effective)
        table.append(
            {
                "from": float(probabilities[inside].min()),
                "to": float(probabilities[inside].max()),
                "n": n,
                "malignant": malignant,
                "mean_probability": float(probabilities[inside].mean()),
                "observed": malignant / n,
                "low": low,
                "high": high,
            }
        )
    return table
