"""How well a model ranks within groups of cases, and cases of like size, beside the size alone.

A model that has only learned how large a nodule is ranks well over all sizes and not at all among nodules of one size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from MAEMCLib.errors import UsageError
from MAEMCLib.report.sections import Metric

from ..statistics.intervals import divide, two_class_samples, with_interval
from ..statistics.metrics import area, auc_difference

LIKE_SIZE = 0.2
"""The diameters of a pair of like size differ by at most this share of their mean."""
_FEWEST = 5  # cases of a class, or its group is only counted
_MOST_GROUPS = 12
_EMPTY = "nothing stated"


@dataclass(frozen=True)
class Grouping:
    """A column of the data, and the bounds that divide its numbers; without bounds each of its texts is a group."""

    column: str
    bounds: tuple[float, ...] = ()

    @classmethod
    def of(cls, words: str) -> Grouping:
        """From ``COLUMN`` or ``COLUMN:BOUND,...``. Raises UsageError."""
        column, _, text = words.partition(":")
        try:
            bounds = tuple(float(bound) for bound in text.split(",")) if text else ()
        except ValueError:
            bounds = (np.nan,)
        if not column or not all(low < high for low, high in pairwise(bounds)) or not np.isfinite(bounds).all():
            raise UsageError(
                f"'{words}' divides nothing. Name a column, and bounds that rise where it holds numbers: "
                "diameter_mm:6,8,15.",
                "groups",
            )
        return cls(column, bounds)

    def names(self, texts: Sequence[str]) -> list[str]:
        """The group of each case. Several numbers in a cell, as readers' ratings are, count as their mean.

        Raises UsageError: a text where numbers are divided, too many groups.
        """
        if not self.bounds:
            groups = [text.strip() or _EMPTY for text in texts]
            if len(set(groups)) > _MOST_GROUPS:
                raise UsageError(
                    f"The column {self.column} has {len(set(groups))} different texts. Where they are numbers, say "
                    f"what divides them: {self.column}:BOUND,BOUND.",
                    "groups",
                )
            return groups
        return [self._band(text) for text in texts]

    def _band(self, text: str) -> str:
        if not text.strip():
            return _EMPTY
        try:
            value = float(np.mean([float(part) for part in text.split()]))
        except ValueError as error:
            raise UsageError(
                f"The column {self.column} holds '{text}', which is no number and cannot be divided by bounds.",
                "groups",
            ) from error
        number = int(np.searchsorted(self.bounds, value, side="right"))
        if number == 0:
            return f"below {self.bounds[0]:g}"
        if number == len(self.bounds):
            return f"{self.bounds[-1]:g} and more"
        return f"{self.bounds[number - 1]:g} to below {self.bounds[number]:g}"

    def order(self, groups: Sequence[str]) -> list[str]:
        """The groups that there are: of numbers from the lowest, of texts by the alphabet; what says nothing last."""
        bands = [f"below {self.bounds[0]:g}"] if self.bounds else sorted(set(groups) - {_EMPTY})
        bands += [f"{low:g} to below {high:g}" for low, high in pairwise(self.bounds)]
        bands += [f"{self.bounds[-1]:g} and more"] if self.bounds else []
        return [name for name in (*bands, _EMPTY) if name in groups]


@dataclass(frozen=True)
class GroupRow:
    """A group's cases, how many are positive, and the AUC of the model, of the size alone, and their difference; None
    with fewer than 5 cases of a class, and of the size where it is not known of all cases."""

    column: str
    group: str
    cases: int
    positive: int
    auc: Metric | None = None
    size_auc: Metric | None = None
    difference: Metric | None = None


def group_rows(
    groupings: Sequence[Grouping],
    columns: Sequence[Mapping[str, str]],
    labels: np.ndarray,
    scores: np.ndarray,
    sizes: np.ndarray | None,
    patients: np.ndarray,
) -> list[GroupRow]:
    """A row for each group of each column, in order.

    columns: of each case (see ``columns_of``). labels: (cases,) 0 or 1. scores: (cases,). sizes: (cases,) mm or None.
    Raises UsageError as ``check_groups`` does.
    """
    rows = []
    for grouping in groupings:
        groups = np.array(_groups(grouping, columns))
        for name in grouping.order(groups.tolist()):
            own = groups == name
            rows.append(
                _row(
                    grouping.column, name, labels[own], scores[own], None if sizes is None else sizes[own],
                    patients[own],
                )
            )  # fmt: skip
    return rows


def check_groups(groupings: Sequence[Grouping], columns: Sequence[Mapping[str, str]]) -> None:
    """Before anything is scored. Raises UsageError: of these cases, if any, none has a value in a column; and as
    ``Grouping.names`` does."""
    for grouping in groupings if columns else ():
        _groups(grouping, columns)


def columns_of(cases: Iterable[Any]) -> list[dict[str, str]]:
    """What the data say of each case of a manifest or a cache, by column, with its diameter."""
    return [
        {**case.values, "diameter_mm": "" if case.diameter_mm is None else f"{case.diameter_mm:g}"} for case in cases
    ]


def _groups(grouping: Grouping, columns: Sequence[Mapping[str, str]]) -> list[str]:
    if not any(values.get(grouping.column) for values in columns):
        raise UsageError(f"The column {grouping.column} divides nothing: no case has a value there.", "groups")
    return grouping.names([values.get(grouping.column, "") for values in columns])


def _row(
    column: str, group: str, labels: np.ndarray, scores: np.ndarray, sizes: np.ndarray | None, patients: np.ndarray
) -> GroupRow:
    positive = int(labels.sum())
    row = GroupRow(column, group, len(labels), positive)
    if min(positive, len(labels) - positive) < _FEWEST:
        return row
    model = area(labels, scores, patients)
    if sizes is None:
        return GroupRow(column, group, len(labels), positive, model)
    samples = two_class_samples(labels, patients)
    difference = auc_difference(labels, scores, sizes, patients, samples)
    return GroupRow(column, group, len(labels), positive, model, area(labels, sizes, patients), difference)


@dataclass(frozen=True)
class LikeSize:
    """Pairs of a positive and a negative case whose diameters differ by at most a fifth of their mean: how often the
    model, and the size alone, score the positive one higher (ties count half); pairs: their number."""

    pairs: int
    model: Metric
    size: Metric
    difference: Metric


def like_size(labels: np.ndarray, scores: np.ndarray, sizes: np.ndarray, patients: np.ndarray) -> LikeSize | None:
    """All (cases,); sizes in mm. Intervals are of bootstrap samples of patients. None where there is no such pair."""
    positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    mean = (sizes[positive, None] + sizes[None, negative]) / 2
    alike = np.abs(sizes[positive, None] - sizes[None, negative]) <= LIKE_SIZE * mean
    if not alike.any():
        return None
    samples = two_class_samples(labels, patients)
    weights = samples[:, positive], samples[:, negative]

    def share(right: np.ndarray) -> np.ndarray:
        # A pair counts as often as both of its cases were drawn.
        return ((weights[0] @ right) * weights[1]).sum(axis=1)

    every = share(alike.astype(float))
    rows = []
    for values in (scores, sizes):
        above = values[positive, None] - values[None, negative]
        rows.append(divide(share(alike * np.where(above == 0, 0.5, above > 0)), every))
    metrics = [with_interval(row, int(alike.sum())) for row in (*rows, rows[0] - rows[1])]
    return LikeSize(int(alike.sum()), *metrics)
