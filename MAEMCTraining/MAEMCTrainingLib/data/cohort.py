"""The cases of one or several caches, in one order, as training sees them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from MAEMCLib.errors import InputError
from MAEMCLib.montage import Preprocessing, normalise

from .augmentation import View, crop
from .cache import CachedCase, ROICache

UNLABELED = -1


@dataclass(frozen=True)
class Cohort:
    """Cases with their caches. Patients are numbered by first appearance, so that no result hangs on pseudonyms."""

    members: tuple[tuple[ROICache, CachedCase], ...]

    def __len__(self) -> int:
        return len(self.members)

    @property
    def cases(self) -> list[CachedCase]:
        """The index entries in order."""
        return [case for _, case in self.members]

    @property
    def slice_step_mm(self) -> int:
        """Distance between slices in mm, the same in all caches."""
        return self.members[0][0].slice_step_mm

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
    def fingerprint(self) -> str:
        """A hash of all voxels, labels and patients' grouping, in order."""
        rows = zip(self.cases, self.patients.tolist(), strict=True)
        values = [[case.case_id, case.sha256, case.label, patient] for case, patient in rows]
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()

    def facts(self) -> dict[str, Any]:
        """What a job keeps of its data: counts, the range of sizes, padding, and the patients' pseudonyms."""
        cases = self.cases
        sizes = [case.diameter_mm for case in cases if case.diameter_mm is not None]
        return {
            "cases": len(cases),
            "patients": len(np.unique(self.patients)),
            "malignant": int((self.labels == 1).sum()),
            "benign": int((self.labels == 0).sum()),
            "unlabeled": int((self.labels == UNLABELED).sum()),
            "diameter_mm": [min(sizes), max(sizes)] if sizes else None,
            "padded_fraction": round(float(np.mean([case.padded_fraction for case in cases])), 6),
            "slice_step_mm": self.slice_step_mm,
            "pseudonym_key": self.pseudonym_key,
            "pseudonyms": sorted({case.patient for case in cases}),
        }

    def stacks(self, index: int) -> np.ndarray:
        """(2, 35, 60, 60) int16 of one case, memory-mapped."""
        cache, case = self.members[index]
        return cache.stacks(case)

    def without(self, patients: set[str]) -> Cohort:
        """The cases of all other patients. Raises InputError where nobody is left."""
        kept = [index for index, case in enumerate(self.cases) if case.patient not in patients]
        if not kept:
            raise InputError("Without the patients that a fold tests nobody is left to pre-train on.", "no-cases")
        return self.subset(kept)

    def subset(self, indices: Sequence[int] | np.ndarray) -> Cohort:
        """The named cases, in the given order."""
        return Cohort(tuple(self.members[int(i)] for i in indices))


def join(caches: Sequence[ROICache], unlabeled_only: Sequence[ROICache] = ()) -> Cohort:
    """One cohort: all cases of ``caches``, then of ``unlabeled_only`` those patients of whom no case has a label.

    The second kind serves honest pre-training: patients whose labels will be evaluated never enter it.
    Raises InputError: different slice steps or pseudonym keys, a case_id in two caches, no case left.
    """
    members = [(cache, case) for cache in caches for case in cache.cases]
    for cache in unlabeled_only:
        labeled = {case.patient for case in cache.cases if case.label is not None}
        members += [(cache, case) for case in cache.cases if case.patient not in labeled]
    everything = [*caches, *unlabeled_only]
    if len({cache.slice_step_mm for cache in everything}) > 1:
        raise InputError("The caches have different slice steps. Build them with the same --slice-step.", "slice-step")
    if len({cache.key for cache in everything}) > 1:
        raise InputError(
            "The caches were built with different pseudonym keys, so that nobody can tell whether they share patients. "
            "Build them again with one MAEMC_HOME.",
            "pseudonym-key",
        )
    seen: set[str] = set()
    for _, case in members:
        if case.case_id in seen:
            raise InputError(f"The case {case.case_id} is in the data twice. Leave one of them out.", "duplicate-case")
        seen.add(case.case_id)
    if not members:
        raise InputError("The data holds no case to train on.", "no-cases")
    return Cohort(tuple(members))


def measure_preprocessing(
    cohort: Cohort, progress: Callable[[int, int], None] = lambda done, total: None
) -> Preprocessing:
    """The window with the mean and deviation of the cohort's own regions, both planes, without augmentation."""
    window = Preprocessing(slice_step_mm=float(cohort.slice_step_mm))
    total, squares, count = 0.0, 0.0, 0
    for index in range(len(cohort)):
        stacks = cohort.stacks(index)
        hu = np.stack([crop(stacks, plane, View(), cohort.slice_step_mm)[0] for plane in (0, 1)])
        values = normalise(hu, window).astype(np.float64)
        total, squares, count = total + values.sum(), squares + (values**2).sum(), count + values.size
        progress(index + 1, len(cohort))
    mean = total / count
    deviation = float(np.sqrt(max(squares / count - mean**2, 0.0)))
    if deviation < 1e-4:
        raise InputError(
            "All regions hold one and the same gray value. Check that the images are CT in HU.", "constant"
        )
    return Preprocessing(mean=round(float(mean), 6), std=round(deviation, 6), slice_step_mm=float(cohort.slice_step_mm))
