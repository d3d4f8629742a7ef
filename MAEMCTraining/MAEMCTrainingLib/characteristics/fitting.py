"""Ridge regression of the readers' mean rating on a network's features, one characteristic at a time.

Closed form, by scikit-learn; the penalty is the one with the smallest error when each training nodule in turn is left
out (its closed form too). A nodule weighs as many readers as it has.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PENALTIES = np.logspace(0, 5, 11)
_LEAST = 1e-6  # deviation of a feature that says nothing


class Head(NamedTuple):
    """rating = weight . features + bias, of features as the network gives them. penalty: of the standardized ones."""

    weight: np.ndarray
    bias: float
    penalty: float


def fit_head(features: np.ndarray, ratings: np.ndarray, readers: np.ndarray) -> Head:
    """features: (cases, width). ratings, readers: (cases,) the readers' mean, and of how many it is."""
    from sklearn.linear_model import RidgeCV

    center, scale = features.mean(axis=0), np.maximum(features.std(axis=0), _LEAST)
    fitted = RidgeCV(PENALTIES).fit((features - center) / scale, ratings, sample_weight=readers)
    weight = fitted.coef_ / scale
    return Head(weight, float(fitted.intercept_ - weight @ center), float(fitted.alpha_))
