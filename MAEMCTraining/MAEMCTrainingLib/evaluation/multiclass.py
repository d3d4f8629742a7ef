"""How good predictions of several classes are, with intervals by patient; any number of classes from two.

Macro: the mean over classes, each counting the same however rare it is. The AUC is one against the rest. Intervals are
those of ``intervals``: exact ones of the classes' rates, Newcombe's of their AUCs. How the classes go together in a
mean is seen in 2000 bootstrap samples that draw patients, with all their cases, from each stratum of patients whose
cases have the same classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from MAEMCLib.errors import InputError

from ..data.folds import Fold
from .intervals import correlations
from .metrics import RESAMPLES, Metric, _divide, _weighted_auc, area, difference_of, mean_of, rate


def patient_samples(labels: np.ndarray, patients: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """(1 + resamples, cases): the cases themselves, then how often each is in each bootstrap sample of patients."""
    draws = np.random.Generator(np.random.Philox(key=[seed, 0x626F6F74]))
    numbers, patient_of = np.unique(patients, return_inverse=True)
    held = np.zeros((len(numbers), int(labels.max()) + 1), bool)
    held[patient_of, labels] = True
    strata = np.unique(held, axis=0, return_inverse=True)[1].ravel()
    counts = np.zeros((resamples, len(numbers)))
    first = len(numbers) * np.arange(resamples)[:, None]  # of each row's cells in the flat table
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        drawn = members[draws.integers(0, len(members), size=(resamples, len(members)))]
        counts += np.bincount((first + drawn).ravel(), minlength=counts.size).reshape(counts.shape)
    return np.vstack([np.ones(len(labels)), counts[:, patient_of]])


def check_distributions(probabilities: np.ndarray) -> None:
    """Raises InputError where a row of (cases, classes) is no distribution: NaN, negative, a sum that is not 1."""
    good = (probabilities >= 0).all(axis=1) & (np.abs(probabilities.sum(axis=1) - 1) < 1e-4)
    if not good.all():
        raise InputError(
            f"{int((~good).sum())} of {len(good)} predictions are no probabilities (NaN, or not adding up to 1). "
            "The model's training has diverged, or the file of predictions is damaged: train again.",
            "no-probability",
        )


def evaluate_classes(
    labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray, samples: np.ndarray
) -> dict[str, Metric]:
    """macro_auc, accuracy, macro_f1 and balanced_accuracy (the macro recall), a case being called what is likeliest.

    labels: (cases,) 0 ... C - 1, each class there. probabilities: (cases, C). samples: of ``patient_samples``, which
    say how the classes' values go together.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, float)
    check_distributions(probabilities)
    called, everything = probabilities.argmax(axis=1), np.ones(len(labels), bool)
    f1, f1_rows, recall = [], [], []
    for number in range(probabilities.shape[1]):
        counted = _counted(labels, called, number)
        f1.append(_f1(*counted, patients))
        tp, fp, fn = (samples @ chosen for chosen in counted)
        f1_rows.append(_divide(2 * tp, 2 * tp + fp + fn))
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


def macro_auc_row(labels: np.ndarray, probabilities: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """(rows of samples,) mean over classes of the AUC of that class against all others."""
    together = np.zeros(len(labels))
    if probabilities.shape[1] == 2:  # the same number twice
        return _weighted_auc(labels, probabilities[:, 1], samples, together)
    classes = range(probabilities.shape[1])
    return np.mean(
        [_weighted_auc((labels == n).astype(int), probabilities[:, n], samples, together) for n in classes], axis=0
    )


def macro_auc(labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray, samples: np.ndarray) -> Metric:
    """The mean over classes of the AUC of that class against all others, with its interval from theirs."""
    if probabilities.shape[1] == 2:  # the same number twice
        return area(labels, probabilities[:, 1], patients)
    kinds = [(labels == number).astype(int) for number in range(probabilities.shape[1])]
    columns = list(zip(kinds, probabilities.T, strict=True))
    together = [_weighted_auc(kind, column, samples, np.zeros(len(labels))) for kind, column in columns]
    parts = [area(kind, column, patients) for kind, column in columns]
    return mean_of(parts, len(labels), correlations(together, otherwise=1.0))


def macro_auc_difference(
    labels: np.ndarray, one: np.ndarray, other: np.ndarray, patients: np.ndarray, samples: np.ndarray
) -> Metric:
    """Macro AUC of one table of probabilities minus that of another; each bootstrap sample gives both."""
    areas = [macro_auc(labels, table, patients, samples) for table in (one, other)]
    return difference_of(*areas, *(macro_auc_row(labels, table, samples) for table in (one, other)))


def by_class(
    labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], patients: np.ndarray
) -> list[dict[str, Any]]:
    """A row for each class: cases, AUC against the rest with its interval, precision, recall and F1."""
    called, rows = probabilities.argmax(axis=1), []
    for number, name in enumerate(classes):
        found = area((labels == number).astype(int), probabilities[:, number], patients)
        tp, fp, fn = (int(chosen.sum()) for chosen in _counted(labels, called, number))
        rows.append(
            {
                "class": name,
                "cases": tp + fn,
                "auc": asdict(found),
                "precision": tp / (tp + fp) if tp + fp else None,
                "recall": tp / (tp + fn),
                "f1": 2 * tp / (2 * tp + fp + fn),
            }
        )
    return rows


def confusion_matrix(labels: np.ndarray, probabilities: np.ndarray) -> list[list[int]]:
    """Counts: a row for each true class, a column for each class that was called."""
    count = probabilities.shape[1]
    table = np.zeros((count, count), int)
    np.add.at(table, (labels, probabilities.argmax(axis=1)), 1)
    return table.tolist()


def majority_shares(labels: np.ndarray, classes: int) -> np.ndarray:
    """(cases, classes) the shares of the classes for every case: calls each the commonest class."""
    return np.tile(np.bincount(labels, minlength=classes) / len(labels), (len(labels), 1))


def tabular_features(values: np.ndarray, given: np.ndarray, attributes: Sequence[int], known: np.ndarray) -> np.ndarray:
    """Clinical values as columns for a linear model, (cases, columns).

    values, given: (cases, A) as the network takes them. attributes: choices of each, 0 for a number. known: the cases
    that a missing number's mean is taken of. A number that is missing is replaced by that mean, which a column of its
    own says; a choice that is missing is none of the choices.
    """
    columns = []
    for a, choices in enumerate(attributes):
        there = given[:, a]
        if choices:
            columns += [(there & (values[:, a] == choice)).astype(float) for choice in range(choices)]
            continue
        mean = values[known][there[known], a].mean() if there[known].any() else 0.0
        columns.append(np.where(there, values[:, a], mean))
        if not there.all():
            columns.append((~there).astype(float))
    return np.stack(columns, axis=1)


def tabular_baseline(
    values: np.ndarray, given: np.ndarray, attributes: Sequence[int], labels: np.ndarray, folds: Sequence[Fold]
) -> np.ndarray:
    """(cases, classes) out-of-fold probabilities of a logistic regression on the clinical values alone.

    Standardized by, and weighted by class in, all that the fold does not test.
    """
    from sklearn.linear_model import LogisticRegression

    table = np.zeros((len(labels), int(labels.max()) + 1))
    for fold in folds:
        known = np.concatenate([fold.train, fold.validation])
        features = tabular_features(values, given, attributes, known)
        mean, deviation = features[known].mean(axis=0), features[known].std(axis=0)
        features = (features - mean) / np.where(deviation > 0, deviation, 1.0)
        model = LogisticRegression(C=1.0, class_weight="balanced", max_iter=2000).fit(features[known], labels[known])
        table[np.ix_(fold.test, model.classes_)] = model.predict_proba(features[fold.test])
    return table
