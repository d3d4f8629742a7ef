"""How much a case of each class counts in a loss."""

import numpy as np


def class_weights(counts: np.ndarray) -> np.ndarray:
    """Cases of each class (classes,) -> n / (classes * cases) (classes,): every class counts the same, and the mean
    over the cases is 1."""
    return counts.sum() / (len(counts) * counts.astype(float))
