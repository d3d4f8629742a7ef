"""Which slices of a volume are kept: the two selections that all similarities share.

Both visit the slices in their order and break ties by it, so that the result is the same on every machine and does not
depend on the names of files.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

LEADER, PAIRWISE = "leader", "pairwise"
Step = Callable[[float], None]


class Similarity(ABC):
    """How alike two slices are.

    measure: the name of the number. is_distance: a small number means alike, instead of a large one. range: the
    smallest and largest threshold. whole_numbers: whether a threshold has to be one. default_threshold: None where the
    user has to choose. by_position: whether it goes by the slices' places and reads no pixels. cheap: whether all pairs
    of a volume take less time than reading it.
    """

    measure: ClassVar[str]
    range: ClassVar[tuple[float, float]]
    is_distance = whole_numbers = by_position = cheap = False
    default_threshold: ClassVar[float | None] = None

    @abstractmethod
    def describe(self, slices: Sequence[np.ndarray]) -> Any:
        """What ``compare`` needs to know of one volume's slices: (rows, columns) uint8 each, all of one size."""

    @abstractmethod
    def compare(self, described: Any, one: int, others: np.ndarray) -> np.ndarray:
        """(len(others),) float64, finite: slice ``one`` against each of ``others``. The same either way round."""


@dataclass(frozen=True)
class Rule:
    """How far a reduction goes.

    threshold: slices that are at least this similar (a distance of at most this) are removed. share: instead of a
    threshold, the share of a volume's slices that is kept, rounded up.
    """

    selection: str = LEADER
    threshold: float | None = None
    share: float | None = None


@dataclass(frozen=True)
class Removal:
    """A slice that was removed. All slices are given by their places in slice order.

    place: the slice. because_of: the slice that it resembled. value: how similar the two are. kept: the slice that was
    kept in the end: ``because_of``, or the slice for which that one was removed in turn (``pairwise``).
    """

    place: int
    because_of: int
    value: float
    kept: int


@dataclass(frozen=True)
class Selected:
    """kept: places of the slices that are kept, ascending. removed: in the order in which they were removed."""

    kept: tuple[int, ...]
    removed: tuple[Removal, ...]


def select(similarity: Similarity, described: Any, count: int, rule: Rule, step: Step = lambda done: None) -> Selected:
    """Reduce a volume of ``count`` slices. ``step`` is called with the share of the work that is done."""
    return SELECTIONS[rule.selection](similarity, described, count, rule, step)


def _leader(similarity: Similarity, described: Any, count: int, rule: Rule, step: Step) -> Selected:
    """Keep the first remaining slice and remove all later ones that are within the threshold of it; repeat.

    The published code does the same in the order of file names.
    """
    remaining = np.arange(count)
    kept, removed = [], []
    while remaining.size:
        one, others = int(remaining[0]), remaining[1:]
        kept.append(one)
        values = similarity.compare(described, one, others) if others.size else np.zeros(0)
        alike = _within(similarity, values, rule.threshold)
        removed += [
            Removal(int(place), one, float(value), one)
            for place, value in zip(others[alike], values[alike], strict=True)
        ]
        remaining = others[~alike]
        step(1.0 - (remaining.size / count) ** 2)
    return Selected(tuple(kept), tuple(removed))


def _pairwise(similarity: Similarity, described: Any, count: int, rule: Rule, step: Step) -> Selected:
    """Remove the later slice of the most similar pair, then of the next pair, until no two slices are within the
    threshold or only the share is left (paper, section 2.1). Of equally similar pairs, the earliest comes first.
    """
    rows = []
    for one in range(count - 1):
        rows.append(similarity.compare(described, one, np.arange(one + 1, count)))
        step(1.0 - ((count - 1 - one) / count) ** 2)
    values = np.concatenate(rows) if rows else np.zeros(0)
    firsts, seconds = np.triu_indices(count, 1)
    order = np.argsort(values if similarity.is_distance else -values, kind="stable")
    # The share, rounded up. 0.1 x 30 is 3, although it is a little more in binary numbers.
    least = 1 if rule.share is None else max(1, math.ceil(count * rule.share - 1e-9))
    gone: dict[int, tuple[int, float]] = {}
    for pair in order:
        within = rule.threshold is None or _within(similarity, values[pair], rule.threshold)
        if count - len(gone) <= least or not within:
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


def _last(gone: dict[int, tuple[int, float]], place: int) -> int:
    while place in gone:
        place = gone[place][0]
    return place


SELECTIONS: dict[str, Callable[[Similarity, Any, int, Rule, Step], Selected]] = {LEADER: _leader, PAIRWISE: _pairwise}
