"""Repeated training on fixed folds: mean AUC of each repeat, and whether one method's are higher than another's.

The protocol of ModAn-MulSupCon: five fixed folds by patient, ten repeats with other seeds, the mean AUC of the folds of
each repeat, a paired Wilcoxon signed-rank test over the repeats, corrected for the number of comparisons (Holm). The
repeats differ by training noise alone; what other patients would have given is shown by a bootstrap of patients beside
it (methods.md, section 6.4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.report.sections import Metric
from scipy import stats

from .bootstrap import RESAMPLES, two_class_samples, with_interval
from .metrics import auc

Alternative = Literal["two-sided", "greater", "less"]


@dataclass(frozen=True)
class SignedRank:
    """Wilcoxon's signed-rank test of paired values: first minus second.

    alternative: what p is the evidence for. "greater": the first are larger. pairs: those that differ, which alone are
    ranked. statistic: the sum of the ranks where the first is larger ("two-sided": the smaller of both sums). p: None
    where no pair differs.
    """

    alternative: str
    pairs: int
    statistic: float | None
    p: float | None


@dataclass(frozen=True)
class RepeatedComparison:
    """Two methods on the same cases, folds and repeats. Values are AUCs.

    first, second: mean over the repeats; their deviations (n - 1). difference: first minus second, its interval by a
    bootstrap of patients. test: over the repeats. holm: the test's p, corrected for all comparisons made; None before.
    """

    first: float
    second: float
    first_deviation: float | None
    second_deviation: float | None
    difference: Metric
    test: SignedRank
    holm: float | None = None


def repeated_auc(labels: np.ndarray, scores: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """(repeats,) mean over the folds of the AUC of each fold's cases.

    labels, folds: (cases,); scores: (repeats, cases), each case scored by the model that did not see its fold. Raises
    InputError: a fold without one of the classes (named), scores that are not finite or do not fit.
    """
    labels, scores, folds = _checked(labels, scores, folds)
    means = [[auc(labels[folds == fold], row[folds == fold]) for fold in np.unique(folds)] for row in scores]
    return np.array(means).mean(axis=1)


def signed_rank(first: Sequence[float], second: Sequence[float], alternative: Alternative) -> SignedRank:
    """Wilcoxon's signed-rank test of paired values (n,): exact up to 50 pairs, where some differ equally up to 13.

    Pairs that are equal are left out. Raises UsageError for another alternative, InputError for values that are no
    pairs or not finite.
    """
    if alternative not in ("two-sided", "greater", "less"):
        raise UsageError(f"The alternative is {alternative!r}; choose two-sided, greater or less.", "alternative")
    one, two = np.asarray(first, float), np.asarray(second, float)
    if one.ndim != 1 or one.shape != two.shape or not np.isfinite([one, two]).all():
        raise InputError("A paired test needs two equally long rows of finite numbers.", "pairs")
    # Differences that are equal but for rounding are ties.
    difference = np.round(one - two, 12)
    difference = difference[difference != 0]
    if not len(difference):
        return SignedRank(alternative, 0, None, None)
    result = stats.wilcoxon(difference, alternative=alternative)
    return SignedRank(alternative, len(difference), float(result.statistic), float(result.pvalue))


def holm(p: Sequence[float | None]) -> list[float | None]:
    """P values corrected for their number by Holm's step-down method (Scandinavian Journal of Statistics 1979;6:65-70).

    None (a comparison without a test) counts as one of the comparisons and stays None. Raises InputError for a number
    outside 0 to 1.
    """
    known = [index for index, value in enumerate(p) if value is not None]
    if not all(0 <= p[index] <= 1 for index in known):
        raise InputError(f"These are no p values: {list(p)}.", "p-value")
    corrected: list[float | None] = [None] * len(p)
    largest = 0.0
    for rank, index in enumerate(sorted(known, key=lambda index: p[index])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = largest
    return corrected


def compare_repeats(
    labels: np.ndarray,
    folds: np.ndarray,
    patients: np.ndarray,
    scores: np.ndarray,
    others: np.ndarray,
    alternative: Alternative,
    resamples: int = RESAMPLES,
) -> RepeatedComparison:
    """Is the AUC of scores higher than that of others? labels, folds, patients: (cases,); scores: (repeats, cases).

    Repeat r of one is paired with repeat r of the other. Raises InputError as ``repeated_auc``, and where a patient is
    in two folds or the numbers of repeats differ.
    """
    labels, scores, folds = _checked(labels, scores, folds)
    _, others, _ = _checked(labels, others, folds)
    if scores.shape != others.shape:
        raise InputError(
            f"One method has {len(scores)} repeats, the other {len(others)}: they cannot be paired.", "repeats"
        )
    one, two = repeated_auc(labels, scores, folds), repeated_auc(labels, others, folds)
    several = len(one) > 1
    return RepeatedComparison(
        first=float(one.mean()),
        second=float(two.mean()),
        first_deviation=float(one.std(ddof=1)) if several else None,
        second_deviation=float(two.std(ddof=1)) if several else None,
        difference=auc_difference_by_patients(labels, folds, patients, scores, others, resamples),
        test=signed_rank(one, two, alternative),
    )


def auc_difference_by_patients(
    labels: np.ndarray,
    folds: np.ndarray,
    patients: np.ndarray,
    scores: np.ndarray,
    others: np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Metric:
    """Mean AUC (over folds and repeats) of scores minus that of others, with an interval by a bootstrap of patients.

    A sample draws the patients of each fold anew, with all their cases, in their stratum (``bootstrap``),
    so that no fold loses a class; all repeats and both methods see the same samples. Arrays as ``compare_repeats``.
    """
    labels, scores, folds = _checked(labels, scores, folds)
    _, others, _ = _checked(labels, others, folds)
    patients = np.asarray(patients)
    if len({(patient, fold) for patient, fold in zip(patients, folds, strict=True)}) != len(np.unique(patients)):
        raise InputError("A patient has cases in two folds. Split by patient.", "patient-in-two-folds")
    rows = []
    for number, fold in enumerate(np.unique(folds)):
        here = folds == fold
        sick, well = np.flatnonzero(here & (labels == 1)), np.flatnonzero(here & (labels == 0))
        drawn = np.zeros((1 + resamples, len(labels)))
        drawn[:, here] = two_class_samples(labels[here], patients[here], resamples, seed + number)
        # Weights do not depend on the repeat, so the repeats' tables of pairs can be averaged before they are weighted.
        gained = (_wins(scores, sick, well) - _wins(others, sick, well)).mean(axis=0)
        gains = ((drawn[:, sick] @ gained) * drawn[:, well]).sum(axis=1)
        rows.append(gains / (drawn[:, sick].sum(axis=1) * drawn[:, well].sum(axis=1)))
    return with_interval(np.mean(rows, axis=0), len(labels))


def corrected(comparisons: Mapping[str, RepeatedComparison]) -> dict[str, RepeatedComparison]:
    """The comparisons with their p corrected for all of them: whatever a table or a text draws on belongs here."""
    values = holm([comparison.test.p for comparison in comparisons.values()])
    pairs = zip(comparisons.items(), values, strict=True)
    return {name: replace(comparison, holm=value) for (name, comparison), value in pairs}


def _wins(scores: np.ndarray, sick: np.ndarray, well: np.ndarray) -> np.ndarray:
    """(repeats, positives, negatives): 1 where the positive scores higher, 1/2 where both score the same."""
    difference = scores[:, sick, None] - scores[:, None, well]
    return (difference > 0) + 0.5 * (difference == 0)


def _checked(labels: np.ndarray, scores: np.ndarray, folds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels, scores, folds = np.asarray(labels), np.atleast_2d(np.asarray(scores, float)), np.asarray(folds)
    if scores.shape[1:] != labels.shape or folds.shape != labels.shape:
        raise InputError(
            f"{scores.shape[-1]} scores in a repeat, {len(labels)} labels and {len(folds)} folds do not fit.", "repeats"
        )
    if not np.isfinite(scores).all():
        raise InputError("Some scores are not finite: a training has diverged. Train it again.", "no-probability")
    for fold in np.unique(folds):
        lacking = [
            name for label, name in ((0, "benign"), (1, "malignant")) if not (labels[folds == fold] == label).any()
        ]
        if lacking:
            raise InputError(
                f"Fold {fold} has no {lacking[0]} case, so it has no AUC. Use fewer folds.", "single-class"
            )
    return labels, scores, folds
