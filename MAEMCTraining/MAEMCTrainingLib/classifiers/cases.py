"""What a classifier is trained on: cases with a class, their images in branches, and their clinical values.

And which of them a fold trains on, is stopped by and tests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from MAEMCLib.cases.values import SERIES, ClinicalField
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.inputs.region import SLICES
from MAEMCLib.measures.middle_slice import measured_values
from MAEMCLib.models.card import branch_source

from ..data.cases import TEST, TRAIN, VALIDATION
from ..data.cohort import Cohort, Settings
from ..data.folds import Division, divide
from ..data.kinds.kind import Presentation
from ..data.kinds.montage_views import regions
from .presets import ClassifierConfiguration

LABEL = "label"
OWN_CLASSES = ("benign-like", "malignant-like")
"""The manifest's own column, and its classes."""
PICTURE = "picture"
"""The one branch of a 2-D picture."""


@dataclass(frozen=True)
class LabeledCohort:
    """Cases with a class, in the order of the main series' cohort.

    branches: names of their images. classes: by number; labels: (cases,) int64. target: the column that says them.
    asked: clinical fields, then further series. values, given: (cases, A) float32 and bool, of the fields, or measured.
    further: name of a further series -> its cohort and, for each case, the case's place in it (-1: it has none).
    """

    main: Cohort
    branches: tuple[str, ...]
    classes: tuple[str, ...]
    labels: np.ndarray
    target: str
    asked: tuple[ClinicalField, ...]
    values: np.ndarray
    given: np.ndarray
    further: Mapping[str, tuple[Cohort, np.ndarray]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.main)

    @property
    def cases(self) -> list[Any]:
        """The index entries of the main series."""
        return self.main.cases

    @property
    def patients(self) -> np.ndarray:
        """(cases,) int64: the number of each case's patient."""
        return self.main.patients

    def of_parts(self, *parts: str) -> LabeledCohort:
        """The cases of these parts. Raises InputError where there is none."""
        self.main.of_parts(*parts)
        return self.subset(np.flatnonzero(np.isin(self.main.parts, parts)))

    def subset(self, indices: Sequence[int] | np.ndarray) -> LabeledCohort:
        """The named cases, in the given order."""
        chosen = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            main=self.main.subset(chosen),
            further={name: (cohort, places[chosen]) for name, (cohort, places) in self.further.items()},
            values=self.values[chosen],
            given=self.given[chosen],
            labels=self.labels[chosen],
        )

    @property
    def fields(self) -> tuple[ClinicalField, ...]:
        """The clinical values among what is asked for."""
        return tuple(one for one in self.asked if one.kind != SERIES)

    @property
    def attributes(self) -> tuple[int, ...]:
        """Choices of each clinical value, 0 for a number: as a head takes them."""
        return tuple(len(one.choices) for one in self.fields)

    @property
    def counts(self) -> dict[str, int]:
        """Cases of each class."""
        return {name: int((self.labels == number).sum()) for number, name in enumerate(self.classes)}

    @cached_property
    def seen(self) -> np.ndarray:
        """(cases, K) bool: which branches were observed."""
        observed = {"": np.ones(len(self), bool)}
        observed |= {name: places >= 0 for name, (_, places) in self.further.items()}
        return np.stack([observed[series] for series, _ in map(source_of, self.branches)], axis=1)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all voxels, values, classes and patients' grouping, in order."""
        nothing_besides = not self.asked and not self.values.shape[1]
        if self.target == LABEL and self.branches == self.main.kind.shown_as.planes and nothing_besides:
            return self.main.fingerprint
        parts = [self.main.fingerprint, self.branches, [one.to_json() for one in self.asked], self.classes]
        parts += [self.labels.tolist(), np.where(self.given, self.values, 0).tolist(), self.given.tolist()]
        parts += [[name, cohort.fingerprint, places.tolist()] for name, (cohort, places) in self.further.items()]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def images_alone(self) -> LabeledCohort:
        """The same cases without their clinical values."""
        series = tuple(one for one in self.asked if one.kind == SERIES)
        values, given = _no_values(len(self))
        return replace(self, asked=series, values=values, given=given)

    def facts(self, *parts: str) -> dict[str, Any]:
        """What a job keeps of its data, of the cases of these parts (none named: all); of the values only what the
        bundle states too. Raises InputError where there is no such case."""
        cases = self.of_parts(*parts) if parts else self
        return cases.main.facts() | {
            "classes": cases.counts,
            "clinical": [one.to_json() for one in self.asked],
            "given": {one.name: int(cases.given[:, column].sum()) for column, one in enumerate(self.fields)},
            "seen": {branch: int(cases.seen[:, column].sum()) for column, branch in enumerate(self.branches)},
        }


def measured(cohort: LabeledCohort) -> LabeledCohort:
    """The cases of nodules with what is measured of each as their values."""
    middle = [regions(cohort.main, case)[0, SLICES // 2] for case in range(len(cohort))]
    values, given = measured_values(np.stack(middle))
    return replace(cohort, values=values, given=given)


def source_of(branch: str) -> tuple[str, str]:
    """(series, plane) of a branch, as ``branch_source``; a picture is of the main series, "", too."""
    return ("", branch) if branch == PICTURE else branch_source(branch)


def labeled(cohort: Cohort) -> LabeledCohort:
    """The cases with a label of the manifest's own. Raises UsageError where there is none."""
    indices = np.flatnonzero(cohort.labels >= 0)
    if not len(indices):
        raise UsageError("No case of the data has a label. Fill the manifest's label column with 0 or 1.", "no-labels")
    main = cohort.subset(indices)
    return LabeledCohort(main, main.kind.shown_as.planes, OWN_CLASSES, main.labels, LABEL, (), *_no_values(len(main)))


def _no_values(cases: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((cases, 0), np.float32), np.zeros((cases, 0), bool)


class CaseImages:
    """What a network is shown of the cases, a branch at a time: augmented for training, plain for all else."""

    def __init__(self, cohort: LabeledCohort, augmentation: Any, preprocessing: Settings, side: int) -> None:
        self.cohort, self.side = cohort, side
        series = {"": cohort.main} | {name: further for name, (further, _) in cohort.further.items()}
        self.presentations: dict[str, Presentation] = {
            name: member.present(augmentation, preprocessing, side) for name, member in series.items()
        }
        self.sources = [source_of(branch) for branch in cohort.branches]

    def augmented(self, case: int, branch: int, seed: int, epoch: int, together: bool) -> tuple[np.ndarray, float]:
        """(S, S) float32 of an observed branch, and its padded share. together: all branches of a case see one view;
        otherwise each has its own."""
        series, plane = self.sources[branch]
        presentation = self.presentations[series]
        number = presentation.planes.index(plane)
        sample = case if together else len(presentation.planes) * case + number
        return presentation.training_image(self._place(series, case), number, seed, epoch, sample)

    def plain(self, case: int) -> list[np.ndarray]:
        """(images, S, S) float32 of each branch, no image where it was not observed; of pictures, all of a case at all
        angles that scoring shows them at."""
        observed = {series for (series, _), seen in zip(self.sources, self.cohort.seen[case], strict=True) if seen}
        plain = {series: self.presentations[series].plain(self._place(series, case)) for series in observed}
        branches = []
        for series, plane in self.sources:
            planes = self.presentations[series].planes
            images, number = plain.get(series, np.zeros((0, self.side, self.side), np.float32)), planes.index(plane)
            branches.append(images[number : number + 1] if len(planes) > 1 else images)
        return branches

    def _place(self, series: str, case: int) -> int:
        return int(self.cohort.further[series][1][case]) if series else case


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
