"""Folds by patient: nobody is on both sides of a split, and each class is spread as evenly as its patients allow.

Where the manifest says which cases train, choose and test, or which folds they form, that is what happens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from MAEMCLib.errors import InputError

from ..engine.rng import generator
from .cases import TEST, TRAIN, VALIDATION
from .cohort import Cohort
from .columns import MOST_GROUPS, is_small_number


@dataclass(frozen=True)
class Fold:
    """Indices of cases: trained on, held out of the training for early stopping, tested on once."""

    number: int
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Division:
    """How the cases of a cohort are used: folds, whose indices are of the cohort.

    by_split: the manifest's validation rows stop the one model that its training rows train; the one fold tests the
    manifest's test rows, or, where there are none, the validation rows. validation, test: indices of the manifest's
    rows of these parts, empty where it names none. The test rows are in no fold's training or validation part.
    """

    folds: tuple[Fold, ...]
    validation: np.ndarray
    test: np.ndarray
    by_split: bool = False

    @property
    def evaluated(self) -> np.ndarray:
        """Indices of all cases that a fold tests, in order."""
        return np.sort(np.concatenate([fold.test for fold in self.folds]))

    @property
    def untouched(self) -> np.ndarray:
        """Indices of all cases that the figures are about: tested by a fold, or of the manifest's test part."""
        return np.unique(np.concatenate([self.evaluated, self.test]))

    def tested_by(self, fold: Fold) -> np.ndarray:
        """Indices of the cases that the fold's model is assessed on: its test part, and the manifest's test rows."""
        return np.unique(np.concatenate([fold.test, self.test]))


def divide(
    cohort: Cohort,
    labels: np.ndarray,
    folds: int,
    validation_fraction: float,
    seed: int,
    labeled_cases: int = 0,
    folds_from: str = "",
) -> Division:
    """Folds of the cases that the manifest lets train; all of them where it has no ``split``.

    labels: (cases,) the class of each. Where the manifest has validation rows, these stop every fold's training, and
    there is one fold unless folds_from names a column with fixed ones. The other arguments are those of ``make_folds``.
    Raises InputError: what ``make_folds`` raises, a part with one class or none to train on, a column that makes no
    folds, a patient in several of them.
    """
    train, validation, test = (np.flatnonzero(cohort.parts == part) for part in (TRAIN, VALIDATION, TEST))
    for part, indices in ((TRAIN, train), (VALIDATION, validation), (TEST, test)):
        if cohort.is_divided and (part == TRAIN or len(indices)):
            _check_part(part, labels[indices])
    if len(validation) and not folds_from:
        first = _first_cases(train, labels, labeled_cases, seed, 0) if labeled_cases else train
        fold = Fold(0, first, validation, test if len(test) else validation)
        return Division((fold,), validation, test, by_split=True)
    fixed = None
    if folds_from:
        texts = [cohort.cases[case].values.get(folds_from, "") for case in train]
        fixed = _named_folds(texts, labels[train], cohort.patients[train], folds_from)
    fraction = 0.0 if len(validation) else validation_fraction
    made = [
        Fold(
            fold.number,
            train[fold.train],
            validation if len(validation) else train[fold.validation],
            train[fold.test],
        )
        for fold in make_folds(labels[train], cohort.patients[train], folds, fraction, seed, labeled_cases, fixed)
    ]
    return Division(tuple(made), validation, test)


def _check_part(part: str, labels: np.ndarray) -> None:
    if len(set(labels.tolist())) < 2:
        what = f"{len(labels)} labeled cases, all of one class" if len(labels) else "no labeled case"
        raise InputError(
            f"The part '{part}' of the manifest's split has {what}. Each part that is named needs cases of both "
            "classes.",
            "single-class",
        )


def _named_folds(texts: Sequence[str], labels: np.ndarray, patients: np.ndarray, column: str) -> np.ndarray:
    """(cases,) the number of each case's fold, as a column of the manifest names them: in the order of its numbers, or
    of first appearance. Raises InputError."""
    lacking = texts.count("")
    names = list(dict.fromkeys(texts))
    if lacking == len(texts) or len(names) > MOST_GROUPS:
        raise InputError(
            f"The data have no column {column} with 2 to {MOST_GROUPS} values that could be folds. Correct "
            "--folds-from, or build the cache again after the column was added.",
            "folds-column",
        )
    if lacking:
        raise InputError(
            f"{lacking} of {len(texts)} cases have no value in the column {column}. Every case that is trained on "
            "needs the fold that it belongs to.",
            "folds-column",
        )
    if all(name.isdigit() and is_small_number(name) for name in names):
        names.sort(key=int)
    numbers = np.array([names.index(text) for text in texts])
    torn = [patient for patient in np.unique(patients) if len(set(numbers[patients == patient])) > 1]
    if torn:
        raise InputError(
            f"{len(torn)} patients have cases in more than one fold of the column {column}. All cases of a patient "
            "belong to one fold.",
            "folds-column",
        )
    if len(names) < 2:
        raise InputError(f"The column {column} names one fold only; there have to be two or more.", "folds-column")
    for number in range(len(names)):
        if len(set(labels[numbers != number].tolist())) < 2:
            raise InputError(
                f"Fold {number + 1} of the column {column} leaves cases of one class only to train on.", "single-class"
            )
    return numbers


def too_few_folds() -> InputError:
    """The refusal of a single model that nothing would stop."""
    return InputError(
        "folds is 1, which is one model that the manifest's validation rows stop, and there are none: cross-validation "
        "needs at least 2. Choose more --folds, or write val into the column split of some rows.",
        "too-few-folds",
    )


def make_folds(
    labels: np.ndarray,
    patients: np.ndarray,
    folds: int,
    validation_fraction: float,
    seed: int,
    labeled_cases: int = 0,
    fixed: np.ndarray | None = None,
) -> list[Fold]:
    """Stratified folds with an inner validation part each.

    labels: (cases,) 0 or 1. patients: (cases,) integers. A patient belongs to the stratum of the labels that its cases
    have. Of every stratum the validation part takes ``validation_fraction`` of the training patients, at least one
    where two are there; 0: nobody. labeled_cases: how many cases of what is not tested are used, both classes in their
    proportion and the smaller number always part of the larger; 0: all. fixed: (cases,) the number of each case's fold,
    where the manifest names it.
    Raises InputError: one class only, fewer patients than folds, a class with one patient.
    """
    fold_of_case = _dealt_folds(labels, patients, folds, seed) if fixed is None else fixed
    made = []
    for number in range(fold_of_case.max() + 1):
        rest = np.flatnonzero(fold_of_case != number)
        if labeled_cases:
            rest = _first_cases(rest, labels, labeled_cases, seed, number)
        held = _validation_patients(labels[rest], patients[rest], validation_fraction, seed, number)
        is_held = np.isin(patients[rest], held)
        made.append(Fold(number, rest[~is_held], rest[is_held], np.flatnonzero(fold_of_case == number)))
    return made


def _dealt_folds(labels: np.ndarray, patients: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """(cases,) the number of each case's fold. The patients of each stratum are shuffled and dealt like cards, the next
    stratum beginning where the last ended. Raises InputError."""
    if folds < 2:
        raise too_few_folds()
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
    rng = generator(seed, "folds")
    dealt = [int(patient) for members in strata.values() for patient in rng.permutation(members)]
    fold_of_patient = {patient: position % folds for position, patient in enumerate(dealt)}
    return np.array([fold_of_patient[patient] for patient in patients])


def _first_cases(cases: np.ndarray, labels: np.ndarray, count: int, seed: int, fold: int) -> np.ndarray:
    """The first ``count`` of the cases in a drawn order that alternates classes in their proportion, sorted."""
    if count >= len(cases):
        return cases
    rng = generator(seed, "labeled-cases", 0, fold)
    rank = np.zeros(len(cases))
    for label in np.unique(labels[cases]):
        members = np.flatnonzero(labels[cases] == label)
        rank[rng.permutation(members)] = (np.arange(len(members)) + 0.5) / len(members)
    return np.sort(cases[np.argsort(rank, kind="stable")[:count]])


def _strata(labels: np.ndarray, patients: np.ndarray) -> dict[tuple[int, ...], list[int]]:
    """The patients with the same set of labels, in order of their numbers."""
    strata: dict[tuple[int, ...], list[int]] = {}
    for patient in np.unique(patients):
        stratum = tuple(int(label) for label in np.unique(labels[patients == patient]))
        strata.setdefault(stratum, []).append(int(patient))
    return dict(sorted(strata.items()))


def _validation_patients(labels: np.ndarray, patients: np.ndarray, fraction: float, seed: int, fold: int) -> list[int]:
    rng = generator(seed, "validation", 0, fold)
    held: list[int] = []
    for members in _strata(labels, patients).values() if fraction else ():
        wanted = min(max(1, round(fraction * len(members))), len(members) - 1)
        held += [int(patient) for patient in rng.permutation(members)[:wanted]]
    return held
