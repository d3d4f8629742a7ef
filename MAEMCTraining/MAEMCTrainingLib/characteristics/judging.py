"""How good heads and alike nodules are, out of fold, beside one reader against the others; with intervals by patient.

A head is as good as a reader where its rank correlation with the mean of the other readers is not below that reader's
by more than ``MARGIN`` (the lower end of the 95 % interval of the paired difference), and its mean absolute error is
not above the reader's. Only then is its word shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from MAEMCLib.characteristics.alike import SHOWN, TrainingNodules
from MAEMCLib.report.sections import Metric

from ..engine.rng import generator
from ..statistics.intervals import patient_samples
from .rated import RatedNodules, pairs, readers_mean

MARGIN = 0.05
RESAMPLES = 1000
Figures = dict[str, Metric]


@dataclass(frozen=True)
class Judged:
    """figures: by name. shown: whether its word is shown."""

    figures: Figures
    shown: bool


def judge_head(ratings: np.ndarray, predicted: np.ndarray, sizes: np.ndarray, patients: np.ndarray) -> Judged:
    """ratings: (N, R) each reader's. predicted: (N,) out of fold. sizes: (N,) mm, NaN where unknown.

    "of_mean": rank correlation of the head with the mean of all readers. Against the mean of the other readers, all
    pairs of a nodule and a reader: rank correlations of the "head", of one "reader", their "difference", and of the
    "size" alone (its absolute value); mean absolute errors "head_error", "reader_error".
    """
    mean = readers_mean(ratings)
    rated = np.flatnonzero(np.isfinite(mean))
    index, own, others = pairs(ratings)
    head = predicted[index]
    errors = np.stack([np.abs(head - others), np.abs(own - others)])

    def paired(times: np.ndarray) -> np.ndarray:
        one, other = (correlation(values, others, times) for values in (head, own))
        return np.stack([one, other, one - other, *drawn_means(errors, times)])

    names = ("head", "reader", "difference", "head_error", "reader_error")
    figures = dict(zip(names, resampled(paired, patients[index], 5), strict=True))
    (figures["of_mean"],) = resampled(
        lambda times: correlation(predicted[rated], mean[rated], times)[None], patients[rated], 1
    )
    sized = np.flatnonzero(np.isfinite(sizes[index]))
    if len(sized):
        (figures["size"],) = resampled(
            lambda times: np.abs(correlation(sizes[index][sized], others[sized], times))[None],
            patients[index][sized],
            1,
        )
    low = figures["difference"].low
    good = low is not None and low >= -MARGIN and figures["head_error"].value <= figures["reader_error"].value
    return Judged(figures, bool(good))


def judge_alike(
    nodules: RatedNodules, training: TrainingNodules, features: np.ndarray, fold: int
) -> dict[str, Figures]:
    """By characteristic the mean absolute difference of a nodule's mean rating to that of the nodules most "alike", and
    of as many drawn at "random", all of other patients. Of nodules whose patients the network never saw.

    features: (N, width) of the network of this fold.
    """
    asked = np.flatnonzero(nodules.folds == fold)
    rng = generator(0, "alike", fold)
    means = np.stack([readers_mean(column) for column in np.moveaxis(nodules.ratings, 1, 0)], axis=1)
    apart = np.full((2, len(asked), len(nodules.names)), np.nan)
    for row, index in enumerate(asked):
        patient = int(nodules.patients[index])
        alike = [one.number - 1 for one in training.most_alike(features[index], without=patient)]
        drawn = rng.choice(np.flatnonzero(nodules.patients != patient), SHOWN, replace=False)
        for way, others in enumerate((alike, drawn)):
            apart[way, row] = np.abs(np.nanmean(means[others], axis=0) - means[index])
    found: dict[str, Figures] = {}
    for column, name in enumerate(nodules.names):
        known = np.flatnonzero(np.isfinite(apart[:, :, column]).all(axis=0))
        values, patients = apart[:, known, column], nodules.patients[asked][known]
        both = resampled(lambda times, values=values: drawn_means(values, times), patients, 2)
        found[name] = dict(zip(("alike", "random"), both, strict=True))
    return found


def correlation(one: np.ndarray, other: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(draws,) Spearman's, ties at their mean rank; NaN where one does not vary.

    one, other: (cases,). times: (draws, cases) how often each case is drawn.
    """
    ranks = np.stack([_ranks(values, times) for values in (one, other)])
    ranks -= (times * ranks).sum(axis=2, keepdims=True) / times.sum(axis=1)[:, None]
    product = (times * ranks[0] * ranks[1]).sum(axis=1)
    length = np.sqrt((times * ranks**2).sum(axis=2).prod(axis=0))
    return np.divide(product, length, out=np.full(len(times), np.nan), where=length > 0)


def _ranks(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(draws, cases): each case's rank among all that are drawn, ties at their mean rank."""
    order = np.argsort(values, kind="stable")
    ties = np.flatnonzero(np.diff(values[order], prepend=np.nan) != 0)  # where another value begins
    of_value = np.add.reduceat(times[:, order], ties, axis=1)
    middle = np.cumsum(of_value, axis=1) - (of_value - 1) / 2
    ranks = np.empty(times.shape)
    ranks[:, order] = np.repeat(middle, np.diff(ties, append=len(values)), axis=1)
    return ranks


def drawn_means(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(figures, draws) means of (figures, cases), each case as often as it is drawn."""
    return values @ times.T / times.sum(axis=1)


def resampled(figures: Callable[[np.ndarray], np.ndarray], patients: np.ndarray, count: int) -> list[Metric]:
    """Figures of cases with the 2.5th and 97.5th percentile of ``RESAMPLES`` draws of patients with all their cases.

    figures: (draws, cases), how often each case is drawn -> (count, draws). patients: (cases,). No interval with fewer
    than two patients, or where a draw has no value.
    """
    if not len(patients):
        return [Metric(None)] * count
    found = figures(patient_samples(np.zeros(len(patients), int), patients, RESAMPLES))
    value, drawn = found[:, 0], found[:, 1:]
    low, high = np.percentile(drawn, (2.5, 97.5), axis=1)
    known = np.isfinite(drawn).all(axis=1) & (len(np.unique(patients)) > 1)
    return [
        Metric(v if np.isfinite(v) else None, *((float(a), float(b)) if k else (None, None)), len(patients))
        for v, a, b, k in zip(value.tolist(), low, high, known, strict=True)
    ]


def as_json(figures: Mapping[str, Metric]) -> dict[str, dict[str, float | int | None]]:
    """As a card holds them."""
    return {
        name: {"value": _rounded(m.value), "low": _rounded(m.low), "high": _rounded(m.high), "n": m.n}
        for name, m in figures.items()
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)
