"""The cases of one or several caches, in one order, as training sees them; and their metadata as multi-hot attributes,
which supervised and multi-label contrastive pre-training learn from."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from MAEMCLib.errors import InputError
from MAEMCLib.inputs.nodule import Preprocessing
from MAEMCLib.inputs.view import PicturePreprocessing

from .cases import TRAIN, StoredCase, part_of_patient
from .columns import check_there, text_of
from .kinds.kind import Kind, Presentation
from .store import Store

UNLABELED = -1
Settings = Preprocessing | PicturePreprocessing


@dataclass(frozen=True)
class Cohort:
    """Cases with their caches. Patients are numbered by first appearance, so that no result hangs on pseudonyms.

    What is stored of a case, and how it is shown, its kind knows.
    """

    members: tuple[tuple[Store, StoredCase], ...]

    def __len__(self) -> int:
        return len(self.members)

    @cached_property
    def cases(self) -> list[StoredCase]:
        """The cases in order."""
        return [case for _, case in self.members]

    @property
    def kind(self) -> Kind:
        """The one kind of all cases."""
        return self.members[0][0].kind

    @property
    def settings(self) -> Any:
        """How the cases were cut, the same in all caches: of the kind's ``Settings``."""
        return self.members[0][0].settings

    def array(self, index: int) -> np.ndarray:
        """What is stored of one case, mapped and not read."""
        store, case = self.members[index]
        return store.array(case)

    def present(self, augmentation: Any, preprocessing: Any, side: int) -> Presentation:
        """What training sees of the cases, at the encoder's side in pixels."""
        return self.kind.shown_as(self, augmentation, preprocessing, side)

    def columns(self, names: Sequence[str]) -> list[dict[str, str]]:
        """{name: text} of each case, empty text where it says nothing. Raises InputError where a cache, or the manifest
        it was made of, has no such column."""
        for store in {id(store): store for store, _ in self.members}.values():
            check_there(store.path, {name for case in store.cases for name in case.values}, names)
        return [{name: text_of(case, name) for name in names} for case in self.cases]

    @property
    def pseudonym_key(self) -> str:
        """Name of the key of all pseudonyms."""
        return self.members[0][0].key

    @cached_property
    def patients(self) -> np.ndarray:
        """(cases,) int64: the number of each case's patient."""
        numbers: dict[str, int] = {}
        return np.array([numbers.setdefault(case.patient, len(numbers)) for case in self.cases], dtype=np.int64)

    @cached_property
    def labels(self) -> np.ndarray:
        """(cases,) int64: 1 malignant, 0 benign, -1 without a label."""
        return np.array([UNLABELED if c.label is None else c.label for c in self.cases], dtype=np.int64)

    @cached_property
    def parts(self) -> np.ndarray:
        """(cases,) str: ``TRAIN``, ``VALIDATION`` or ``TEST``; all of them ``TRAIN`` where no manifest divides them."""
        return np.array([case.part or TRAIN for case in self.cases], dtype="U10")

    @property
    def is_divided(self) -> bool:
        """Whether a manifest's ``split`` says which cases train, choose and test."""
        return any(case.part for case in self.cases)

    def of_parts(self, *parts: str) -> Cohort:
        """The cases of these parts. Raises InputError where there is none."""
        indices = np.flatnonzero(np.isin(self.parts, parts))
        if not len(indices):
            raise InputError(
                f"No case is left to train on: the manifest's column split has no row of {' or '.join(parts)}.",
                "no-cases",
            )
        return self.subset(indices)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all voxels, labels, parts and patients' grouping, in order; no pseudonym goes into it."""
        rows = zip(self.cases, self.patients.tolist(), strict=True)
        parts = self.parts.tolist() if self.is_divided else [None] * len(self)
        values = [[case.sha256, case.label, patient, part] for (case, patient), part in zip(rows, parts, strict=True)]
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()

    def facts(self) -> dict[str, Any]:
        """What a job keeps of its data: counts, the 5th and 95th percentile of sizes, padding, and the patients'
        pseudonyms."""
        cases = self.cases
        sizes = [case.diameter_mm for case in cases if case.diameter_mm is not None]
        return {
            "cases": len(cases),
            "patients": len(np.unique(self.patients)),
            "malignant": int((self.labels == 1).sum()),
            "benign": int((self.labels == 0).sum()),
            "unlabeled": int((self.labels == UNLABELED).sum()),
            "diameter_mm": np.percentile(sizes, (5, 95)).tolist() if sizes else None,
            "pseudonym_key": self.pseudonym_key,
            "pseudonyms": sorted({case.patient for case in cases}),
            **self.kind.cohort_facts(self),
        }

    def without(self, patients: set[str]) -> Cohort:
        """The cases of all other patients. Raises InputError where nobody is left."""
        kept = [index for index, case in enumerate(self.cases) if case.patient not in patients]
        if not kept:
            raise InputError("Without the patients that a fold tests nobody is left to pre-train on.", "no-cases")
        return self.subset(kept)

    def subset(self, indices: Sequence[int] | np.ndarray) -> Cohort:
        """The named cases, in the given order."""
        return Cohort(tuple(self.members[int(i)] for i in indices))


def join(stores: Sequence[Store], unlabeled_only: Sequence[Store] = ()) -> Cohort:
    """One cohort: all cases of ``stores``, then of ``unlabeled_only`` those patients of whom no case has a label.

    The second kind serves honest pre-training: patients whose labels will be evaluated never enter it.
    Raises InputError: different kinds, slice steps or pseudonym keys, a case_id in two caches, a patient whose cases
    belong to two parts, no case left.
    """
    members = [(store, case) for store in stores for case in store.cases]
    for store in unlabeled_only:
        labeled = {case.patient for case in store.cases if case.label is not None}
        members += [(store, case) for case in store.cases if case.patient not in labeled]
    everything = [*stores, *unlabeled_only]
    titles = sorted({store.kind.title for store in everything})
    if len(titles) > 1:
        raise InputError(f"{' and '.join(titles)} cannot be trained on together. Give one kind.", "mixed-kinds")
    if len({store.settings for store in everything}) > 1:
        raise InputError("The caches have different slice steps. Build them with the same --slice-step.", "slice-step")
    if len({store.key for store in everything}) > 1:
        raise InputError(
            "The caches were built with different pseudonym keys, so that nobody can tell whether they share patients. "
            "Build them again with one MAEMC_HOME.",
            "pseudonym-key",
        )
    counts = Counter(case.case_id for _, case in members)
    if twice := [case for _, case in members if counts[case.case_id] > 1]:
        raise InputError(f"The case {twice[-1].where} is in the data twice. Leave one of them out.", "duplicate-case")
    if not members:
        raise InputError("The data holds no case to train on.", "no-cases")
    part_of_patient([(case.patient, case.part or TRAIN) for _, case in members])
    return Cohort(tuple(members))


def measure_preprocessing(cohort: Cohort, augmentation: Any, side: int, skip_unobserved: bool = False) -> Settings:
    """The window or the view with the mean and deviation of the cohort's own plain images.

    skip_unobserved: as of ``Preprocessing``; what was not observed is then not measured either.

    Raises InputError where all of them hold one gray value.
    """
    settings, images = cohort.kind.unstandardized(cohort, augmentation, side, skip_unobserved)
    total, squares, count = 0.0, 0.0, 0
    for index in range(len(cohort)):
        values = images(index).astype(np.float64)
        values = values[np.isfinite(values)]
        total, squares, count = total + values.sum(), squares + (values**2).sum(), count + values.size
    mean = total / count
    deviation = float(np.sqrt(max(squares / count - mean**2, 0.0)))
    if deviation < 1e-4:
        raise InputError("All images hold one and the same gray value. Check the images.", "constant")
    return replace(settings, mean=round(float(mean), 6), std=round(deviation, 6))


@dataclass(frozen=True)
class Attributes:
    """values: (cases, A) bool. names: of the A attributes, "column=value"."""

    values: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def none(cls, cases: int) -> Attributes:
        """For methods that need no metadata."""
        return cls(np.zeros((cases, 0), dtype=bool), ())

    def fingerprint(self, cohort: Cohort) -> str:
        """A hash of the data and of what is said of them; that of the cohort where nothing is."""
        if not self.names:
            return cohort.fingerprint
        attributes = np.packbits(self.values).tobytes() + "|".join(self.names).encode()
        return hashlib.sha256(cohort.fingerprint.encode() + attributes).hexdigest()


def attributes_of(cohort: Cohort, columns: Sequence[str]) -> tuple[Attributes, np.ndarray]:
    """What the cases say under the columns, and the indices of those that say anything.

    A cell may hold several values, separated by ';'. Attributes are ordered by column and value. Raises InputError:
    data without a column, no case with a value, fewer than two attributes in all.
    """
    attributes = [
        {f"{name}={value.strip()}" for name in columns for value in texts[name].split(";") if value.strip()}
        for texts in cohort.columns(columns)
    ]
    names = sorted(set().union(*attributes), key=lambda name: (columns.index(name.partition("=")[0]), name))
    described = np.array([index for index, own in enumerate(attributes) if own], dtype=int)
    if len(names) < 2:
        there = f"all of them say {names[0]}" if names else "no case says anything there"
        raise InputError(
            f"The columns {', '.join(columns)} tell no cases apart: {there}. Fill them in the manifest, or name others "
            "with columns=...",
            "single-class",
        )
    values = np.array([[name in attributes[index] for name in names] for index in described], dtype=bool)
    return Attributes(values, tuple(names)), described
