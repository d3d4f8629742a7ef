"""The bins of a reliability diagram."""

from __future__ import annotations

import numpy as np


def equal_mass_bins(probabilities: np.ndarray) -> np.ndarray:
    """(cases,) number of each case's bin: ten bins with equally many cases, fewer below 100 cases (ten a bin, two at
    least). Equal probabilities share a bin, so that bins may merge."""
    count = int(np.clip(len(probabilities) // 10, 2, 10))
    edges = np.unique(np.sort(probabilities)[np.arange(1, count) * len(probabilities) // count])
    return np.unique(np.searchsorted(edges, probabilities, side="right"), return_inverse=True)[1]
