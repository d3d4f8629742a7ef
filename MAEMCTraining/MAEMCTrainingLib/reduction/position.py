"""All slices, or every n-th: what the similarities are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from MAEMCLib.errors import UsageError


@dataclass(frozen=True)
class EveryNth:
    """EveryN: the first of each run of ``every`` slices stays. Told to the selections as a similarity: 1 within a run,
    0 otherwise.
    """

    every: int = 10

    measure = "same run of slices"
    is_distance = False
    range = (1.0, 1.0)
    default_threshold = 1.0
    whole_numbers = False
    by_position = True
    cheap = False  # the two selections cannot differ

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UsageError(f"--every is {self.every}; it has to be a whole number from 1.", "every")

    def describe(self, slices: Sequence[np.ndarray]) -> None:
        """Nothing: the place says it all."""

    def compare(self, described: None, one: int, others: np.ndarray) -> np.ndarray:
        """(len(others),) 1.0 where both lie in the same run."""
        return (others // self.every == one // self.every).astype(np.float64)


@dataclass(frozen=True)
class AllSlices(EveryNth):
    """ALL: every slice stays."""

    every: int = 1
