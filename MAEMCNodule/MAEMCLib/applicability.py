"""Does this input look like what the model was trained on? Colors a result; never hides it.

Before the network runs, the limits of the model's card tell; after it how far the features lie from those of the
training cases: the Mahalanobis distance of the class token to their mean, with a covariance that is shrunk towards a
multiple of the identity, because there are often fewer cases than features. What is far is told by the card: the
distances of the training's own cases, each measured by the member that had not seen it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .errors import ModelError

LARGEST_MM = 1000
SIZE_UNKNOWN = "size-unknown"
SIZE_CODES = (SIZE_UNKNOWN, "large", "small")
"""Codes of what is said of a nodule's size: they do not outlive another measurement."""
GATES = ("green", "grey", "amber", "red")
"""The colors, the worst last; grey: something could not be checked."""


@dataclass(frozen=True)
class Limits:
    """Where a model is at home; stored in its bundle under ``applicability``.

    The diameter range is that of the training nodules, 5th to 95th percentile. subsolid_known: whether subsolid nodules
    were among them; the published data had none. 3 mm slices are those of the published data (Zhao et al. 2025, 2.31
    +/- 0.71 mm); the other limits are this project's proposals.
    """

    smallest_diameter_mm: float = 7.0
    largest_diameter_mm: float = 30.0
    slice_spacing_amber_mm: float = 3.0
    slice_spacing_red_mm: float = 5.0
    padded_amber: float = 0.25
    padded_red: float = 0.5
    subsolid_known: bool = False

    def __post_init__(self) -> None:
        """Raises ModelError for limits that no nodule, scan or region could lie between."""
        sizes = 0 < self.smallest_diameter_mm <= self.largest_diameter_mm <= LARGEST_MM
        slices = 0 < self.slice_spacing_amber_mm <= self.slice_spacing_red_mm <= LARGEST_MM
        if not (sizes and slices and 0 <= self.padded_amber <= self.padded_red <= 1):
            raise ModelError(f"The model's limits make no sense: {asdict(self)}. Get the model again.", "schema")


@dataclass(frozen=True)
class Finding:
    """What was noticed of an input. color: one of GATES. code: a word for programs. message: a sentence for people."""

    color: str
    code: str
    message: str


def size_finding(diameter_mm: float | None, limits: Limits) -> Finding | None:
    """A nodule's longest axial diameter, None where it is not known, against those that a model knows; None within
    them."""
    known = f"{limits.smallest_diameter_mm:.3g}-{limits.largest_diameter_mm:.3g} mm"
    if diameter_mm is None:
        return Finding("grey", SIZE_UNKNOWN, f"The nodule's size is not known here; the model knows {known}.")
    if diameter_mm > limits.largest_diameter_mm:
        return Finding("red", "large", f"{diameter_mm:.0f} mm is larger than the model's nodules ({known}).")
    if diameter_mm < limits.smallest_diameter_mm:
        return Finding("amber", "small", f"{diameter_mm:.1f} mm is smaller than the model's nodules ({known}).")
    return None


def gate_of(findings: Sequence[Finding]) -> tuple[str, tuple[str, ...]]:
    """The worst color of an input's findings, and the codes behind it, each once; none of green."""
    gate = max((finding.color for finding in findings), key=GATES.index, default="green")
    return gate, tuple(dict.fromkeys(finding.code for finding in findings if finding.color == gate != "green"))


LIMIT = 95.0
"""Percentile of the training cases' distances beyond which a nodule counts as unlike them."""
PERCENTILES = np.arange(101)


@dataclass(frozen=True)
class FeatureDistance:
    """mean: (width,). whitening: (width, width); the distance is the length of whitening @ (token - mean)."""

    mean: np.ndarray
    whitening: np.ndarray

    @classmethod
    def of(cls, mean: np.ndarray, covariance: np.ndarray, count: float) -> FeatureDistance:
        """From the statistics of ``count`` training cases; the covariance is the unbiased one (n - 1).

        Raises ValueError: wrong shapes, values not finite, fewer than two cases.
        """
        mean, covariance = np.asarray(mean, float), np.asarray(covariance, float)
        width = len(mean)
        if covariance.shape != (width, width) or not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise ValueError("feature statistics are not finite or of the wrong shape")
        if count < 2:
            raise ValueError("feature statistics of fewer than two cases")
        shrunk = shrink(covariance * (count - 1) / count, count)
        # All cases alike have no covariance: a finite, very large distance for any other.
        floor = 1e-9 * np.trace(shrunk) / width + 1e-12
        try:
            root = np.linalg.cholesky(shrunk + floor * np.eye(width))
        except np.linalg.LinAlgError as error:
            raise ValueError("feature statistics hold no covariance") from error
        return cls(mean, np.linalg.inv(root))

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        """(cases, width) -> (cases,), divided by the root of the width: about 1 for a training case."""
        white = (np.asarray(tokens, float) - self.mean) @ self.whitening.T
        return np.sqrt((white**2).mean(axis=1))


def branch_distances(statistics: Mapping[str, Any], branches: Iterable[str]) -> dict[str, FeatureDistance]:
    """The distance of each branch from the statistics of one member's training cases, as ``FeatureDistance.of``.

    Raises KeyError where they lack a branch.
    """
    count = float(statistics["count"])
    return {b: FeatureDistance.of(statistics[f"{b}_mean"], statistics[f"{b}_covariance"], count) for b in branches}


def shrink(covariance: np.ndarray, count: float) -> np.ndarray:
    """Oracle approximating shrinkage of a covariance (n in the denominator) towards mean variance times identity.

    Chen et al., IEEE Transactions on Signal Processing 2010;58:5016-5029, equation 23 as scikit-learn reads it: it
    needs no more than the covariance and the number of cases.
    """
    width = len(covariance)
    scale = np.trace(covariance) / width
    squares = (covariance**2).mean()
    top, bottom = squares + scale**2, (count + 1) * (squares - scale**2 / width)
    strength = 1.0 if bottom <= 0 else min(1.0, top / bottom)
    return (1 - strength) * covariance + strength * scale * np.eye(width)


def case_distance(
    tokens: dict[str, np.ndarray], distances: dict[str, FeatureDistance], seen: dict[str, np.ndarray]
) -> np.ndarray:
    """(cases,) mean over the branches of one member's distances; all by branch. seen: (cases,) bool, which cases have
    the branch's image; a case without any has NaN."""
    measured = np.stack([distance(tokens[branch]) for branch, distance in distances.items()])
    counted = np.stack([seen[branch] for branch in distances])
    with np.errstate(invalid="ignore"):
        return np.where(counted, measured, 0.0).sum(axis=0) / counted.sum(axis=0)


def percentile(distance: float, reference: list[float]) -> float:
    """Where a distance lies among the training cases': 0 to 100. reference: their percentiles 0, 1 ... 100."""
    return float(np.interp(distance, reference, PERCENTILES))


def unlike_training(ood_percentile: float | None) -> Finding | None:
    """What a case's features tell once the network has run; None where the model cannot tell."""
    if ood_percentile is None or ood_percentile <= LIMIT:
        return None
    return Finding(
        "amber",
        "unlike-training",
        "Its features are unlike those of the model's training cases: further away than "
        f"{min(ood_percentile, 99.0):.0f} % of these.",
    )
