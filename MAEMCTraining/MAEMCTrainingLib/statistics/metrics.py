"""How good predictions are of two classes or more, with intervals by patient.

Of two classes the second is positive: malignant. Rates and areas under the ROC curve have the intervals of
``intervals``, which hold also where nearly all cases are right. The others are the 2.5th and 97.5th percentile of 2000
samples of ``bootstrap``. No interval is given where a class has one patient, where more than one sample in twenty has
no value (those that have one are then a selection), or where all samples are alike.

Macro: the mean over classes, each counting the same however rare it is; an AUC is then one against the rest. How the
classes go together in a mean is seen in the bootstrap samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from MAEMCLib.errors import InputError
from MAEMCLib.report.sections import Metric
from MAEMCLib.statistics.intervals import area_interval
from scipy.stats import norm, rankdata

from .calibration import calibration_rows
from .intervals import (
    correlations,
    difference_interval,
    divide,
    effective_size,
    mean_interval,
    rate_interval,
    two_class_samples,
    weighted_auc,
    with_interval,
)

INTERVALS = (
    "Intervals: 95 %, by patient; exact (Clopper-Pearson) for rates, Newcombe's for AUCs, 2000 bootstrap samples for "
    "the calibration's figures. A dash or a value alone: too few patients for an interval."
)
"""What a report says of them."""


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    Raises InputError without cases of both classes.
    """
    _check_both_classes(labels)
    return float(weighted_auc(labels, scores, np.ones((1, len(labels))))[0])


def _check_both_classes(labels: np.ndarray) -> None:
    if not ((labels == 0).any() and (labels == 1).any()):
        raise InputError("An AUC needs cases of both classes.", "single-class")


def evaluate(
    labels: np.ndarray,
    probabilities: np.ndarray,
    patients: np.ndarray,
    threshold: float | np.ndarray = 0.5,
    folds: np.ndarray | None = None,
    scores: np.ndarray | None = None,
    samples: np.ndarray | None = None,
) -> dict[str, Metric]:
    """AUC, the rates at a threshold, Brier score, expected calibration error (ECE), calibration slope and intercept.

    "ece_if_calibrated" is the ECE that the same probabilities would have if they were right: it is not 0, and larger
    with fewer cases.

    All arrays are (cases,). A case is called malignant where its probability reaches the threshold, which may be each
    case's own. scores: what the AUC ranks by, where that is not the probability (calibrating each fold by the others
    shifts folds against each other). With folds, also "auc_within_folds", over pairs that the same model scored:
    pooling the scores of several models, as "auc" does, ranks cases by which model scored them too.
    samples: of ``two_class_samples``, where they are drawn already.
    Raises InputError: one class only, probabilities that are none (NaN, outside [0, 1]).
    """
    scores = probabilities if scores is None else scores
    _check_both_classes(labels)
    check_probabilities(probabilities)
    table = two_class_samples(labels, patients) if samples is None else samples
    calibration, if_calibrated = calibration_rows(labels, probabilities, table)
    rows = {"brier": table @ (probabilities - labels) ** 2 / table.sum(axis=1), **calibration}
    enough = fewest_patients(labels, patients) >= 2
    resampled = {name: with_interval(row if enough else row[:1], len(labels)) for name, row in rows.items()}
    found = {"auc": area(labels, scores, patients), **rates(labels, probabilities, patients, threshold), **resampled}
    found["ece_if_calibrated"] = Metric(*if_calibrated, len(labels))
    if folds is not None:
        found["auc_within_folds"] = area(labels, scores, patients, folds)
    return found


def fewest_patients(labels: np.ndarray, patients: np.ndarray) -> int:
    """Of the class that fewer patients have cases of."""
    return min(len(np.unique(patients[labels == label])) for label in np.unique(labels))


def area(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray, groups: np.ndarray | None = None) -> Metric:
    """AUC with Newcombe's interval on the effective numbers of cases; groups: (cases,) what alone is compared.

    A case's weight in the AUC is how many of the other class it ranks right: of these its class's effective number is
    taken. No interval with one patient in a class, or where all scores are alike, which rank nothing.
    """
    groups = np.zeros(len(labels), int) if groups is None else np.unique(groups, return_inverse=True)[1]
    classes = (labels == 1, labels == 0)
    sizes = np.stack([np.bincount(groups[own], minlength=groups.max() + 1) for own in classes], axis=1)
    wins, pairs = np.zeros(len(labels)), sizes[groups, labels]  # of cases of the other class in the group
    for group in range(len(sizes)):
        wins[groups == group] = ranked_right(labels[groups == group], scores[groups == group])
    if not pairs[classes[0]].sum():
        return Metric(None, None, None, len(labels))
    value = float(wins[classes[0]].sum() / pairs[classes[0]].sum())
    if fewest_patients(labels, patients) < 2 or np.ptp(scores) == 0:
        return Metric(value, None, None, len(labels))
    surplus = wins - value * pairs
    effective = [effective_size(surplus[own], patients[own]) / own.sum() for own in classes]
    return Metric(value, *area_interval(value, sizes * effective), len(labels))


def ranked_right(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(cases,) how many cases of the other class each is ranked right with, a tie counting half."""
    right = np.zeros(len(labels))
    for own, ordered in ((labels == 1, scores), (labels == 0, -scores)):
        right[own] = rankdata(ordered)[own] - rankdata(ordered[own])
    return right


def rates(
    labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray, threshold: float | np.ndarray
) -> dict[str, Metric]:
    """Of ``evaluate``'s, those that depend on the threshold."""
    called, sick = probabilities >= threshold, labels == 1
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
    values, intervals = [part.value for part in parts], [(part.low, part.high) for part in parts]
    return Metric(float(np.mean(values)), *mean_interval(values, intervals, together), n)


def check_probabilities(probabilities: np.ndarray) -> None:
    """Raises InputError where a row of (cases, classes) is no distribution, or one of (cases,) no probability."""
    good = (probabilities >= 0) & (probabilities <= 1)
    if probabilities.ndim == 2:
        good = good.all(axis=1) & (np.abs(probabilities.sum(axis=1) - 1) < 1e-4)
    if not good.all():
        raise InputError(
            f"{int((~good).sum())} of {len(good)} predictions are no probabilities (NaN, outside 0 to 1, or not adding "
            "up to 1). The model's training has diverged, or the file of predictions is damaged: train again.",
            "no-probability",
        )


def confusion(labels: np.ndarray, probabilities: np.ndarray, threshold: float | np.ndarray) -> dict[str, int]:
    """The four counts behind all rates: tp, fp, tn, fn."""
    tp, fp, fn = (int(counted.sum()) for counted in _counted(labels, probabilities >= threshold, 1))
    return {"tp": tp, "fp": fp, "tn": len(labels) - tp - fp - fn, "fn": fn}


def evaluate_classes(
    labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray, samples: np.ndarray
) -> dict[str, Metric]:
    """macro_auc, accuracy, macro_f1 and balanced_accuracy (the macro recall), a case being called what is likeliest.

    labels: (cases,) 0 ... C - 1, each class there. probabilities: (cases, C). samples: of ``patient_samples``, which
    say how the classes' values go together.
    """
    check_probabilities(probabilities)
    called, everything = probabilities.argmax(axis=1), np.ones(len(labels), bool)
    f1, f1_rows, recall = [], [], []
    for number in range(probabilities.shape[1]):
        counted = _counted(labels, called, number)
        f1.append(_f1(*counted, patients))
        tp, fp, fn = (samples @ chosen for chosen in counted)
        f1_rows.append(divide(2 * tp, 2 * tp + fp + fn))
        recall.append(rate(called == number, labels == number, patients))
    return {
        "macro_auc": macro_auc(labels, probabilities, patients, samples),
        "accuracy": rate(called == labels, everything, patients),
        "macro_f1": mean_of(f1, len(labels), correlations(f1_rows, otherwise=1.0)),
        "balanced_accuracy": mean_of(recall, len(labels)),
    }


def _f1(right: np.ndarray, wrong: np.ndarray, missed: np.ndarray, patients: np.ndarray) -> Metric:
    """2 J / (1 + J), of the share J of right ones among the cases that are of the class or called it: of that share
    there is an exact interval."""
    share = rate(right, right | wrong | missed, patients)
    if share.value is None:
        return share
    return Metric(*(None if j is None else 2 * j / (1 + j) for j in (share.value, share.low, share.high)), share.n)


def _counted(labels: np.ndarray, called: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True positives, false positives and false negatives of one class, (cases,) each."""
    is_it, said = labels == number, called == number
    return is_it & said, ~is_it & said, is_it & ~said


def _against_the_rest(labels: np.ndarray, probabilities: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(labels, scores) of each class against all others; of two classes, or scores (cases,), those of the second."""
    if probabilities.ndim == 1 or probabilities.shape[1] == 2:
        return [(labels, probabilities if probabilities.ndim == 1 else probabilities[:, 1])]
    return [((labels == number).astype(int), column) for number, column in enumerate(probabilities.T)]


def macro_auc_row(labels: np.ndarray, probabilities: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """(rows of samples,) mean over classes of the AUC of that class against all others."""
    columns = _against_the_rest(labels, probabilities)
    return np.mean([weighted_auc(kind, column, samples) for kind, column in columns], axis=0)


def macro_auc(labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray, samples: np.ndarray) -> Metric:
    """The mean over classes of the AUC of that class against all others, with its interval from theirs."""
    columns = _against_the_rest(labels, probabilities)
    parts = [area(kind, column, patients) for kind, column in columns]
    if len(parts) == 1:
        return parts[0]
    together = [weighted_auc(kind, column, samples) for kind, column in columns]
    return mean_of(parts, len(labels), correlations(together, otherwise=1.0))


def auc_difference(
    labels: np.ndarray, one: np.ndarray, other: np.ndarray, patients: np.ndarray, samples: np.ndarray
) -> Metric:
    """(Macro) AUC of one minus that of another on the same cases; (cases,) scores or (cases, classes) each.

    The interval follows from those of both and from how they go together over bootstrap samples of patients, which
    ``samples`` are. No interval where both go together exactly, as of models that rank all cases alike: it would have
    no width.
    """
    areas = [macro_auc(labels, table, patients, samples) for table in (one, other)]
    rows = [macro_auc_row(labels, table, samples) for table in (one, other)]
    difference, varying = areas[0].value - areas[1].value, [np.nanstd(row) > 1e-12 for row in rows]
    nothing = Metric(difference, None, None, len(labels))
    if all(varying) and np.allclose(rows[0] - rows[1], difference, atol=1e-12, rtol=0, equal_nan=True):
        return nothing
    # What ranks nothing has one value on whatever cases.
    intervals = [
        (area.value, area.value) if area.low is None and not varies and row[0] == 0.5 else (area.low, area.high)
        for area, varies, row in zip(areas, varying, rows, strict=True)
    ]
    together = float(correlations(rows, otherwise=0.0)[0, 1])
    low, high = difference_interval(*(area.value for area in areas), *intervals, together)
    return nothing if low == high else Metric(difference, low, high, len(labels))


def by_class(
    labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], patients: np.ndarray
) -> list[dict[str, Any]]:
    """A row for each class: cases, AUC against the rest with its interval, precision, recall and F1."""
    called, rows = probabilities.argmax(axis=1), []
    for number, name in enumerate(classes):
        tp, fp, fn = (int(chosen.sum()) for chosen in _counted(labels, called, number))
        rows.append(
            {
                "class": name,
                "cases": tp + fn,
                "auc": area((labels == number).astype(int), probabilities[:, number], patients),
                "precision": tp / (tp + fp) if tp + fp else None,
                "recall": tp / (tp + fn),
                "f1": 2 * tp / (2 * tp + fp + fn),
            }
        )
    return rows


def confusion_matrix(labels: np.ndarray, probabilities: np.ndarray) -> list[list[int]]:
    """Counts: a row for each true class, a column for each class that was called."""
    count = probabilities.shape[1]
    pairs = labels * count + probabilities.argmax(axis=1)
    return np.bincount(pairs, minlength=count**2).reshape(count, count).tolist()


@dataclass(frozen=True)
class DeLong:
    """Two correlated AUCs: their difference with its 95 % interval, and the two-sided p of no difference.

    p and the interval are None where the difference has no variance, as of two models that rank all cases alike, or
    that both make no mistake.
    """

    first: float
    second: float
    difference: float
    low: float | None
    high: float | None
    p: float | None


def delong(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> DeLong | None:
    """DeLong's test of two scores (cases,) of the same cases (DeLong et al., Biometrics 1988;44:837-845).

    By midranks (Sun and Xu, IEEE Signal Processing Letters 2014;21:1389-1393). Takes cases for independent: for several
    nodules of a patient, and near an AUC of 1, the difference's interval by patient is the better judge. None with
    fewer than two cases of a class.
    """
    sick, well = labels == 1, labels == 0
    m, n = int(sick.sum()), int(well.sum())
    if m < 2 or n < 2:
        return None
    right = [ranked_right(labels, scores) for scores in (first, second)]
    of_sick, of_well = [row[sick] / n for row in right], [row[well] / m for row in right]
    one, two = (float(values.mean()) for values in of_sick)
    variance = (np.cov(of_sick) / m + np.cov(of_well) / n) @ [1, -1] @ [1, -1]
    difference = one - two
    if variance < 1e-15:
        return DeLong(one, two, difference, None, None, None)
    deviation = float(np.sqrt(variance))
    reach = float(norm.ppf(0.975)) * deviation
    p = float(2 * norm.sf(abs(difference) / deviation))
    return DeLong(one, two, difference, difference - reach, difference + reach, p)


@dataclass(frozen=True)
class Comparison:
    """(Macro) AUC of a model minus that of another on the same cases, with an interval by patient; DeLong's test of two
    classes, None with fewer than two cases of a class."""

    difference: Metric
    delong: DeLong | None = None
