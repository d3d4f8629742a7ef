"""All slices, or every n-th slice: the baselines that the similarities are compared with."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from MAEMCLib.errors import UsageError

from .selection import Similarity


@dataclass(frozen=True)
class EveryNth(Similarity):
    """EveryN: the first of each run of ``every`` slices is kept. It is expressed as a similarity that is 1 within a run
    and 0 otherwise.
    """

    every: int = 10

    measure = "same run of slices"
    range = (1.0, 1.0)
    default_threshold = 1.0
    by_position = True

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UsageError(f"--every is {self.every}; it has to be a whole number from 1.", "every")

    def describe(self, slices: Sequence[np.ndarray]) -> None:
        """Nothing is needed: only the places count."""

    def compare(self, described: None, one: int, others: np.ndarray) -> np.ndarray:
        """(len(others),) 1.0 where both lie in the same run."""
        return (others // self.every == one // self.every).astype(np.float64)


@dataclass(frozen=True)
class AllSlices(EveryNth):
    """ALL: every slice is kept."""

    every: int = 1
