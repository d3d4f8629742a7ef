"""Which cases a fold trains on, is stopped by and tests, for any number of classes; and its description."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from MAEMCLib.errors import InputError

from ..data.folds import Division, divide
from ..data.parts import TEST, TRAIN, VALIDATION
from .cases import LabeledCohort
from .presets import ClassifierConfiguration


def division_of(
    cohort: LabeledCohort, run: ClassifierConfiguration, say: Callable[[str], None] = lambda line: None
) -> Division:
    """Folds by patient, or what the manifest's split says. say: called with a line for each fold that tests not all.

    Raises InputError: a class with one patient, one that a fold could not train on, fewer patients than folds; what
    ``divide`` raises.
    """
    labels, classes = cohort.labels, cohort.classes
    for number, name in enumerate(classes):
        count = len(np.unique(cohort.patients[(labels == number) & (cohort.main.parts == TRAIN)]))
        if count < (1 if VALIDATION in cohort.main.parts else 2):
            raise InputError(
                f"Only {'one patient has' if count else 'no patient has'} a case of the class {name}, so that no fold "
                "can both train and test on it. Add cases, or merge it with another class.",
                "too-few-patients",
            )
    division = divide(
        cohort.main, labels, run.folds, run.validation_fraction, run.division_seed, run.labeled_cases, run.folds_from
    )
    for fold in division.folds:
        if untrained := _absent(labels[fold.train], classes):
            raise InputError(
                f"Fold {fold.number + 1} has no case of the class {untrained[0]} to train on: its patients are too "
                "few, or have cases of other classes too. Choose another seed, fewer folds, or add cases.",
                "class-absent",
            )
        if untested := _absent(labels[fold.test], classes):
            say(
                f"Fold {fold.number + 1} tests no case of the class {', '.join(untested)}: fewer patients than folds. "
                "The figures are of all folds together."
            )
    return division


def _absent(labels: np.ndarray, classes: tuple[str, ...]) -> list[str]:
    return [name for number, name in enumerate(classes) if number not in labels]


def part_counts(cohort: LabeledCohort) -> dict[str, int] | None:
    """How many cases the manifest's split puts into each part; None where it has no split."""
    if not cohort.main.is_divided:
        return None
    return {part: int((cohort.main.parts == part).sum()) for part in (TRAIN, VALIDATION, TEST)}


def describe_parts(cohort: LabeledCohort, division: Division) -> str:
    """What the manifest's split makes of the cases, in one line."""
    counts = part_counts(cohort)
    text = f"The manifest's split: {', '.join(f'{count} {part}' for part, count in counts.items())} cases."
    if counts[TEST]:
        text += " Test cases train nothing and choose nothing."
    if counts[VALIDATION]:
        text += " Validation cases choose the epoch" + (" of one model." if division.by_split else " of every fold.")
    return text
