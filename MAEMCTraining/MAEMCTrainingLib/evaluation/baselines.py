"""What a model has to beat: always the commoner class, the nodule's size alone, an encoder that has learnt nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from ..data.folds import Fold
from .logistic import fit_logistic


def majority(labels: np.ndarray) -> np.ndarray:
    """(cases,) one probability for all, the share of malignant cases: calls every case the commoner class.

    Not fold by fold: shares that differ a little between folds would rank the cases of one fold above another's.
    """
    return np.full(len(labels), labels.mean())


def logistic(features: np.ndarray, labels: np.ndarray, folds: Sequence[Fold], strength: float = 1.0) -> np.ndarray:
    """(cases,) out-of-fold probabilities of a logistic model on features (cases, values).

    Standardized by the training part and weighted by class; ``strength`` is that of the l2 penalty, for one deviation.
    """
    probabilities = np.zeros(len(labels))
    for fold in folds:
        training = _training(fold)
        weights, bias = fit_logistic(features[training], labels[training], strength)
        probabilities[fold.test] = expit(features[fold.test] @ weights + bias)
    return probabilities


def _training(fold: Fold) -> np.ndarray:
    """All that is not tested on: a baseline without early stopping needs no validation part."""
    return np.concatenate([fold.train, fold.validation])
