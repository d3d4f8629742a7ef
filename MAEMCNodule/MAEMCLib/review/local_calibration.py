"""How a reader's estimates and a model's numbers fared at this place, once it is known what the nodules were."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..statistics.intervals import area_interval, equal_mass_bins, wilson
from .review import MALIGNANT, Review

FEWEST_OUTCOMES = 20
"""From so many on bins and AUC are given: before, chance decides them."""


@dataclass(frozen=True)
class Bin:
    """Nodules of like estimates: how many, how many of them malignant, the mean estimate, the observed share with
    Wilson's 95 % interval."""

    n: int
    malignant: int
    mean: float
    observed: float
    low: float
    high: float


@dataclass(frozen=True)
class Fared:
    """Estimates (0 to 1) against outcomes. brier: their mean squared distance; None of none. bins, auc (value, low,
    high; Newcombe's 95 % interval): empty and None below FEWEST_OUTCOMES; auc also where all outcomes are alike.

    Nodules count as independent: several of one patient make the intervals too short.
    """

    n: int
    malignant: int
    brier: float | None = None
    bins: tuple[Bin, ...] = ()
    auc: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class LocalCalibration:
    """reader, model: each on the nodules that it has a number of. both: on how many of them both have one."""

    reader: Fared
    model: Fared
    both: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever reads it should know, in sentences."""
        notes = ["Nodules count as independent: several of one patient make the intervals too short."]
        for name, fared in (("reader", self.reader), ("model", self.model)):
            if fared.n < FEWEST_OUTCOMES:
                notes.append(f"The {name}: {fared.n} of {FEWEST_OUTCOMES} outcomes that bins and an AUC need.")
        if self.reader.n and self.both < max(self.reader.n, self.model.n):
            notes.append(f"Reader and model share {self.both} nodules; on others only one of them has a number.")
        return tuple(notes)


def local_calibration(reviews: Iterable[Review], model_sha256: str) -> LocalCalibration:
    """The calibration of all reviews that have an outcome. model_sha256: whose numbers; of each nodule its last one.

    Of the reader the estimates count that were stored before any number was shown.
    """
    known = [review for review in reviews if review.outcome]
    reader = {r.nodule: r.estimate_percent / 100 for r in known if r.estimate_percent is not None}
    numbers = {r.nodule: _number(r, model_sha256) for r in known}
    model = {nodule: number for nodule, number in numbers.items() if number is not None}
    truth = {r.nodule: r.outcome == MALIGNANT for r in known}
    return LocalCalibration(_fared(reader, truth), _fared(model, truth), len(reader.keys() & model.keys()))


def _number(review: Review, model_sha256: str) -> float | None:
    """The model's last number of a nodule; None where that is no probability of malignancy."""
    for result in reversed(review.results):
        if result["model"].get("sha256") == model_sha256:
            malignant = str(result.get("probability_of")).startswith(MALIGNANT)
            return result["probability"] if malignant else None
    return None


def _fared(estimates: dict[str, float], truth: dict[str, bool]) -> Fared:
    values = np.array(list(estimates.values()), float)
    malignant = np.array([truth[nodule] for nodule in estimates], bool)
    n, count = len(values), int(malignant.sum())
    if not n:
        return Fared(0, 0)
    brier = float(((values - malignant) ** 2).mean())
    if n < FEWEST_OUTCOMES:
        return Fared(n, count, brier)
    return Fared(n, count, brier, _bins(values, malignant), _auc(values, malignant))


def _bins(values: np.ndarray, malignant: np.ndarray) -> tuple[Bin, ...]:
    numbers, found = equal_mass_bins(values), []
    for number in range(numbers.max() + 1):
        inside = numbers == number
        n, count = int(inside.sum()), int(malignant[inside].sum())
        found.append(Bin(n, count, float(values[inside].mean()), count / n, *wilson(count, n)))
    return tuple(found)


def _auc(values: np.ndarray, malignant: np.ndarray) -> tuple[float, float, float] | None:
    """The chance that a malignant nodule has the higher estimate of a pair, ties counting half."""
    if malignant.all() or not malignant.any():
        return None
    difference = values[malignant][:, None] - values[~malignant][None]
    area = float(((difference > 0) + 0.5 * (difference == 0)).mean())
    return area, *area_interval(area, np.array([difference.shape], float))
