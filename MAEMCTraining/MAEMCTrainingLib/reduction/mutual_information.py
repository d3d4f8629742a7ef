"""Normalized mutual information, (H(A) + H(B)) / H(A, B): from 1, nothing in common, to 2, each follows from the other.

Studholme, Hill, Hawkes, Pattern Recognition 32(1), 1999. Entropies are those of histograms with 64 gray levels: with
256 levels the joint histogram would have a pixel or two per cell, and all slices would look alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .selection import Similarity

LEVELS = 64


Described = tuple[list[np.ndarray], np.ndarray]
"""Gray levels of each slice, (pixels,) from 0 to 63; entropies, (slices,) in nats."""


@dataclass(frozen=True)
class MutualInformation(Similarity):
    """MI (paper, section 2.1)."""

    measure = "normalized mutual information"
    range = (1.0, 2.0)

    def describe(self, slices: Sequence[np.ndarray]) -> Described:
        """Gray levels, and the entropy of each slice."""
        levels = [pixels.ravel() // (256 // LEVELS) for pixels in slices]
        return levels, np.array([_entropy(np.bincount(values)) for values in levels])

    def compare(self, described: Described, one: int, others: np.ndarray) -> np.ndarray:
        """(len(others),) normalized mutual information; 2 for two constant slices, whose entropies are all 0."""
        levels, entropies = described
        first = levels[one].astype(np.int64) * LEVELS
        values = np.empty(len(others))
        for place, other in enumerate(others):
            joint = _entropy(np.bincount(first + levels[other], minlength=LEVELS * LEVELS))
            values[place] = (entropies[one] + entropies[other]) / joint if joint > 0 else 2.0
        return np.clip(values, 1.0, 2.0)


def _entropy(counts: np.ndarray) -> float:
    """In nats."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
