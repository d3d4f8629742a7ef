"""Repeated training on fixed folds: mean AUC of each repeat, and whether one method's are higher than another's.

The protocol of ModAn-MulSupCon: five fixed folds by patient, ten repeats with other seeds, the mean AUC of the folds of
each repeat, a paired Wilcoxon signed-rank test over the repeats, corrected for the number of comparisons (Holm). The
repeats differ by training noise alone; what other patients would have given is shown by a bootstrap of patients beside
it (methods.md, section 6.4).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from MAEMCLib.errors import InputError
from MAEMCLib.report.sections import Metric
from scipy import stats

from .intervals import two_class_samples, weighted_auc, with_interval
from .metrics import auc


@dataclass(frozen=True)
class SignedRank:
    """Wilcoxon's signed-rank test of paired values: first minus second.

    alternative: what p is the evidence for. pairs: those that differ, which alone are ranked. statistic: the smaller of
    the two sums of ranks. p: None where no pair differs.
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
    InputError: a fold without one of the classes (named), scores that are not finite.
    """
    if not np.isfinite(scores).all():
        raise InputError("Some scores are not finite: a training has diverged. Train it again.", "no-probability")
    parts = [folds == fold for fold in np.unique(folds)]
    for part in parts:
        for label, name in ((0, "benign"), (1, "malignant")):
            if not (labels[part] == label).any():
                raise InputError(
                    f"Fold {folds[part][0]} has no {name} case, so it has no AUC. Use fewer folds.", "single-class"
                )
    return np.array([[auc(labels[part], row[part]) for part in parts] for row in scores]).mean(axis=1)


def signed_rank(first: np.ndarray, second: np.ndarray) -> SignedRank:
    """Wilcoxon's two-sided signed-rank test of paired values (n,). Pairs that are equal are left out.

    p is exact up to 50 pairs, where some differ equally up to 13.
    """
    difference = np.round(first - second, 12)  # differences that are equal but for rounding are ties
    difference = difference[difference != 0]
    if not len(difference):
        return SignedRank("two-sided", 0, None, None)
    result = stats.wilcoxon(difference)
    return SignedRank("two-sided", len(difference), float(result.statistic), float(result.pvalue))


def holm(p: Sequence[float | None]) -> list[float | None]:
    """P values corrected for their number by Holm's step-down method (Scandinavian Journal of Statistics 1979;6:65-70).

    None (a comparison without a test) counts as one of the comparisons and stays None.
    """
    corrected, largest = list(p), 0.0
    tested = [index for index, value in enumerate(p) if value is not None]
    for rank, index in enumerate(sorted(tested, key=lambda index: p[index])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = largest
    return corrected


def compare_repeats(
    labels: np.ndarray, folds: np.ndarray, patients: np.ndarray, scores: np.ndarray, others: np.ndarray
) -> RepeatedComparison:
    """Do the AUCs of scores and of others differ? labels, folds, patients: (cases,); scores, others: (repeats, cases).

    Repeat r of one is paired with repeat r of the other. Raises InputError as ``repeated_auc``, and where a patient is
    in two folds.
    """
    one, two = repeated_auc(labels, scores, folds), repeated_auc(labels, others, folds)
    deviations = [float(values.std(ddof=1)) if len(values) > 1 else None for values in (one, two)]
    difference = auc_difference_by_patients(labels, folds, patients, scores, others)
    return RepeatedComparison(float(one.mean()), float(two.mean()), *deviations, difference, signed_rank(one, two))


def auc_difference_by_patients(
    labels: np.ndarray, folds: np.ndarray, patients: np.ndarray, scores: np.ndarray, others: np.ndarray
) -> Metric:
    """Mean AUC (over folds and repeats) of scores minus that of others, with an interval by a bootstrap of patients.

    A sample draws the patients of each fold anew, with all their cases, in their stratum (``bootstrap``), so that no
    fold loses a class; all repeats and both methods see the same samples. Arrays and errors as ``compare_repeats``.
    """
    if len(set(zip(patients.tolist(), folds.tolist(), strict=True))) != len(np.unique(patients)):
        raise InputError("A patient has cases in two folds. Split by patient.", "patient-in-two-folds")
    rows = []
    for number, fold in enumerate(np.unique(folds)):
        here = folds == fold
        samples = two_class_samples(labels[here], patients[here], seed=number)
        areas = [[weighted_auc(labels[here], row[here], samples) for row in table] for table in (scores, others)]
        rows.append(np.mean(areas[0], axis=0) - np.mean(areas[1], axis=0))
    return with_interval(np.mean(rows, axis=0), len(labels))


def corrected(comparisons: Mapping[str, RepeatedComparison]) -> dict[str, RepeatedComparison]:
    """The comparisons with their p corrected for all of them: whatever a table or a text draws on belongs here."""
    values = holm([comparison.test.p for comparison in comparisons.values()])
    pairs = zip(comparisons.items(), values, strict=True)
    return {name: replace(comparison, holm=value) for (name, comparison), value in pairs}
