"""Folds by patient: nobody is on both sides of a split, and each class is spread as evenly as its patients allow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from MAEMCLib.errors import InputError

from ..draws import generator


@dataclass(frozen=True)
class Fold:
    """Indices of cases: trained on, held out of the training for early stopping, tested on once."""

    number: int
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def make_folds(
    labels: np.ndarray, patients: np.ndarray, folds: int, validation_fraction: float, seed: int, labeled_cases: int = 0
) -> list[Fold]:
    """Stratified folds with an inner validation part each.

    labels: (cases,) 0 or 1. patients: (cases,) integers. A patient belongs to the stratum of the labels that its cases
    have. Of every stratum the validation part takes ``validation_fraction`` of the training patients, at least one
    where two are there. labeled_cases: how many cases of what is not tested are used, both classes in their proportion
    and the smaller number always part of the larger; 0: all.
    Raises InputError: one class only, fewer patients than folds, a class with one patient.
    """
    strata = _strata(labels, patients)
    classes = {label for stratum in strata for label in stratum}
    if len(classes) < 2:
        raise InputError(
            f"All {len(labels)} labeled cases are {'malignant' if classes == {1} else 'benign'}. "
            "A classifier needs cases of both classes.",
            "single-class",
        )
    count = len(np.unique(patients))
    if count < folds:
        raise InputError(
            f"There are {count} patients for {folds} folds. Choose fewer --folds or add cases.", "too-few-patients"
        )
    for label in (0, 1):
        if sum(len(members) for stratum, members in strata.items() if label in stratum) < 2:
            raise InputError(
                f"Only one patient has a {'malignant' if label else 'benign'} case, so that no fold can both train "
                "and test on this class. Add cases.",
                "too-few-patients",
            )
    assigned = _deal(strata, folds, seed)
    made = []
    for number in range(folds):
        test = np.flatnonzero([assigned[patient] == number for patient in patients])
        rest = np.flatnonzero([assigned[patient] != number for patient in patients])
        if labeled_cases:
            rest = _first_cases(rest, labels, labeled_cases, seed, number)
        held = _validation_patients(labels[rest], patients[rest], validation_fraction, seed, number)
        validation = np.isin(patients[rest], held)
        made.append(Fold(number, rest[~validation], rest[validation], test))
    return made


def _first_cases(cases: np.ndarray, labels: np.ndarray, count: int, seed: int, fold: int) -> np.ndarray:
    """The first ``count`` of the cases in a drawn order that alternates classes in their proportion, sorted."""
    if count >= len(cases):
        return cases
    draws = generator(seed, "labeled-cases", 0, fold)
    rank = np.zeros(len(cases))
    for label in np.unique(labels[cases]):
        members = np.flatnonzero(labels[cases] == label)
        rank[draws.permutation(members)] = (np.arange(len(members)) + 0.5) / len(members)
    return np.sort(cases[np.argsort(rank, kind="stable")[:count]])


def _strata(labels: np.ndarray, patients: np.ndarray) -> dict[tuple[int, ...], list[int]]:
    """The patients with the same set of labels, in order of their numbers."""
    strata: dict[tuple[int, ...], list[int]] = {}
    for patient in np.unique(patients):
        stratum = tuple(int(label) for label in np.unique(labels[patients == patient]))
        strata.setdefault(stratum, []).append(int(patient))
    return dict(sorted(strata.items()))


def _deal(strata: dict[tuple[int, ...], list[int]], folds: int, seed: int) -> dict[int, int]:
    """Patient -> fold: each stratum is shuffled and dealt like cards, the next one beginning where the last ended."""
    draws = generator(seed, "folds")
    assigned, position = {}, 0
    for members in strata.values():
        for patient in draws.permutation(members):
            assigned[int(patient)] = position % folds
            position += 1
    return assigned


def _validation_patients(labels: np.ndarray, patients: np.ndarray, fraction: float, seed: int, fold: int) -> list[int]:
    draws = generator(seed, "validation", 0, fold)
    held: list[int] = []
    for members in _strata(labels, patients).values():
        wanted = min(max(1, round(fraction * len(members))), len(members) - 1)
        held += [int(patient) for patient in draws.permutation(members)[:wanted]]
    return held
