"""The nodules of a finished fine-tuning with every reader's ratings, from the columns of its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from MAEMCLib.characteristics.alike import SIDE
from MAEMCLib.characteristics.ratings import HIGHEST, LOWEST, RATED
from MAEMCLib.errors import InputError
from MAEMCLib.images.ct import LUNG_WINDOW_HU
from MAEMCLib.inputs.region import NoduleROI

from ..data.cases import StoredCase
from ..data.cohort import Cohort, join
from ..data.sources import Source
from ..jobs.job import Job

FEWEST = 30
"""Nodules rated by at least two readers, from which on a characteristic counts as rated."""


@dataclass(frozen=True)
class RatedNodules:
    """N nodules. names: of the C columns with ratings. cohort: the nodules, in an order that tells nothing of them.
    folds: (N,) which fold tested the nodule's patient. patients: (N,) numbers. ratings: (N, C, R) each reader's, NaN
    where there is none; the readers of one nodule are in one order in all columns."""

    names: tuple[str, ...]
    cohort: Cohort
    folds: np.ndarray
    patients: np.ndarray
    ratings: np.ndarray

    def __len__(self) -> int:
        return len(self.folds)

    @property
    def diameters_mm(self) -> np.ndarray:
        """(N,) longest axial diameter, NaN where unknown."""
        return np.array([np.nan if case.diameter_mm is None else case.diameter_mm for case in self.cohort.cases])

    def region(self, index: int) -> NoduleROI:
        """What scoring cuts of a nodule."""
        return self.cohort.kind.scored(self.cohort, index)[0]


def rated_nodules(job: Job, tested: Mapping[str, int]) -> RatedNodules | None:
    """The labeled nodules of a job; None where its data have no ratings of several readers, or it has but one model.

    tested: the fold that tests each case, by the case's pseudonym.
    Raises InputError where its data are not where they were.
    """
    settings = job.settings
    if settings["kind"] != "finetune" or settings.get("input") != "nodule" or len(set(tested.values())) < 2:
        return None
    cohort = _opened(job)
    place = {case.case_id: index for index, case in enumerate(cohort.cases)}
    if tested.keys() - place.keys():
        raise _gone()
    ids = sorted(tested)  # pseudonyms: an order that is none of the manifest's
    nodules = cohort.subset([place[one] for one in ids])
    table = {name: [_ratings(case, name) for case in nodules.cases] for name in RATED}
    names = tuple(name for name, rows in table.items() if sum(len(row) > 1 for row in rows) >= FEWEST)
    if not set(names) - {"malignancy"}:
        return None
    ratings = np.full((len(ids), len(names), max(len(row) for name in names for row in table[name])), np.nan)
    for column, name in enumerate(names):
        for number, row in enumerate(table[name]):
            ratings[number, column, : len(row)] = row
    return RatedNodules(names, nodules, np.array([tested[one] for one in ids]), nodules.patients, ratings)


def _opened(job: Job) -> Cohort:
    paths = [source.get("path") for source in job.settings["data"]]
    if not paths or None in paths or not all(Path(path).exists() for path in paths):
        raise _gone()
    return join([Source(Path(path)).open(job.folder / "caches", job.home) for path in paths])


def _gone() -> InputError:
    return InputError(
        "The training's data are not where they were, or not the same. Bring them back, and export again.",
        "data-unknown",
    )


def _ratings(case: StoredCase, name: str) -> list[int]:
    """Every reader's rating in a column; none where it says anything else."""
    words = case.values.get(name, "").split()
    known = [int(word) for word in words if word in _SCALE]
    return known if len(known) == len(words) else []


_SCALE = {str(rating) for rating in range(LOWEST, HIGHEST + 1)}


def thumbnails(nodules: RatedNodules) -> np.ndarray:
    """(N, 50, 50) uint8: of each nodule the axial slice through its point, or the observed one next to it, in the lung
    window."""
    low, high = LUNG_WINDOW_HU
    pictures = np.zeros((len(nodules), SIDE, SIDE), np.uint8)
    for index in range(len(nodules)):
        region = nodules.region(index)
        there = np.flatnonzero(region.observed["axial"]) if region.observed else np.arange(len(region.axial))
        middle = len(region.axial) // 2
        nearest = there[np.argmin(np.abs(there - middle))] if len(there) else middle
        gray = (region.axial[nearest] - low) / (high - low)
        pictures[index] = np.rint(255 * np.clip(gray, 0, 1))
    return pictures


def readers_mean(ratings: np.ndarray) -> np.ndarray:
    """(N, R) -> (N,) the mean of those that there are; NaN of none."""
    count = np.isfinite(ratings).sum(axis=1)
    return np.where(count > 0, np.nansum(ratings, axis=1) / np.maximum(count, 1), np.nan)


def pairs(ratings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every reader beside the others: the nodule's index, the reader's rating and the mean of the others', each
    (pairs,). ratings: (N, R); nodules of one reader have none."""
    there = np.isfinite(ratings)
    count, total = there.sum(axis=1), np.nansum(ratings, axis=1)
    index, reader = np.nonzero(there & (count > 1)[:, None])
    own = ratings[index, reader]
    return index, own, (total[index] - own) / (count[index] - 1)


def names_of(rated: Sequence[str]) -> tuple[str, ...]:
    """Those of the rated columns that heads are fitted for: not malignancy, which is the number itself."""
    return tuple(name for name in rated if name != "malignancy")
