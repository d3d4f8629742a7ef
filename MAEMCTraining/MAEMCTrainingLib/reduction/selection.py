"""Which slices of a volume stay: the two selections that all similarities share (methods.md 6.5).

Both go in slice order and break ties by it, so that the result is the same on every machine and does not depend on the
names of files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

LEADER, PAIRWISE = "leader", "pairwise"
SELECTIONS = (LEADER, PAIRWISE)
Step = Callable[[float], None]


class Similarity(Protocol):
    """How alike two slices are.

    measure: what the number is called. is_distance: small is alike, instead of large. range: the smallest and largest
    threshold. default_threshold: None where the user has to say. by_position: looks at no picture. cheap: all pairs of
    a volume take less time than reading it.
    """

    measure: str
    is_distance: bool
    range: tuple[float, float]
    default_threshold: float | None
    whole_numbers: bool
    by_position: bool
    cheap: bool

    def describe(self, slices: Sequence[np.ndarray]) -> Any:
        """What is compared, of the slices of one volume: (rows, columns) uint8 each, all of one size."""

    def compare(self, described: Any, one: int, others: np.ndarray) -> np.ndarray:
        """(len(others),) float64, finite: slice ``one`` against each of ``others``. The same either way round."""


@dataclass(frozen=True)
class Rule:
    """How far a reduction goes.

    threshold: slices go that are at least so alike (a distance at most so large). share: instead of it, the share of a
    volume's slices that stays, rounded up.
    """

    selection: str = LEADER
    threshold: float | None = None
    share: float | None = None


@dataclass(frozen=True)
class Removal:
    """A slice that went, by places in slice order: because of which other, how alike they were, in which step.

    kept: the slice that stayed in the end. It is ``because_of``, or what that one went for in turn (``pairwise``).
    """

    place: int
    because_of: int
    value: float
    kept: int


@dataclass(frozen=True)
class Selected:
    """kept: places of the slices that stay, rising. removed: in the order in which they went."""

    kept: tuple[int, ...]
    removed: tuple[Removal, ...]


def select(similarity: Similarity, described: Any, count: int, rule: Rule, step: Step = lambda done: None) -> Selected:
    """Reduce a volume of ``count`` slices. ``step`` is told the share of the work that is done."""
    if rule.selection == PAIRWISE:
        return pairwise(similarity, described, count, rule.threshold, rule.share, step)
    return leader(similarity, described, count, rule.threshold, step)


def leader(
    similarity: Similarity, described: Any, count: int, threshold: float, step: Step = lambda done: None
) -> Selected:
    """The first remaining slice stays and absorbs all later ones within the threshold; then the next remaining one.

    This is what the published code does, there in the order of file names.
    """
    remaining = np.arange(count)
    kept, removed = [], []
    while remaining.size:
        one, others = int(remaining[0]), remaining[1:]
        kept.append(one)
        values = similarity.compare(described, one, others) if others.size else np.zeros(0)
        alike = _within(similarity, values, threshold)
        removed += [
            Removal(int(place), one, float(value), one)
            for place, value in zip(others[alike], values[alike], strict=True)
        ]
        remaining = others[~alike]
        step(1.0 - (remaining.size / count) ** 2)
    return Selected(tuple(kept), tuple(removed))


def pairwise(
    similarity: Similarity,
    described: Any,
    count: int,
    threshold: float | None,
    share: float | None = None,
    step: Step = lambda done: None,
) -> Selected:
    """From the most alike pair on, the later of the two goes, until no two are within the threshold, or until only the
    share is left (paper, section 2.1). Of pairs that are equally alike the one with the earliest slices comes first.
    """
    rows = []
    for one in range(count - 1):
        rows.append(similarity.compare(described, one, np.arange(one + 1, count)))
        step(1.0 - ((count - 1 - one) / count) ** 2)
    values = np.concatenate(rows) if rows else np.zeros(0)
    firsts, seconds = np.triu_indices(count, 1)
    order = np.argsort(values if similarity.is_distance else -values, kind="stable")
    least = 1 if share is None else _least(count, share)
    gone: dict[int, tuple[int, float]] = {}
    for pair in order:
        if count - len(gone) <= least:
            break
        if threshold is not None and not _within(similarity, values[pair], threshold):
            break
        first, second = int(firsts[pair]), int(seconds[pair])
        if first not in gone and second not in gone:
            gone[second] = (first, float(values[pair]))
    kept = tuple(place for place in range(count) if place not in gone)
    removed = [Removal(place, why, value, _last(gone, why)) for place, (why, value) in gone.items()]
    step(1.0)
    return Selected(kept, tuple(removed))


def _within(similarity: Similarity, values: np.ndarray, threshold: float) -> np.ndarray:
    return values <= threshold if similarity.is_distance else values >= threshold


def _least(count: int, share: float) -> int:
    """The share rounded up; what binary numbers add to 0.1 x 30 is no thirty-first part."""
    return max(1, math.ceil(count * share - 1e-9))


def _last(gone: dict[int, tuple[int, float]], place: int) -> int:
    while place in gone:
        place = gone[place][0]
    return place
