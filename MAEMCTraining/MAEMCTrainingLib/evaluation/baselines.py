"""What a model has to beat: always the commoner class, the nodule's size alone, an encoder that has learnt nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.folds import Fold


def majority(labels: np.ndarray) -> np.ndarray:
    """(cases,) one probability for all, the share of malignant cases: calls every case the commoner class.

    Not fold by fold: shares that differ a little between folds would rank the cases of one fold above another's.
    """
    return np.full(len(labels), labels.mean())


def logistic(features: np.ndarray, labels: np.ndarray, folds: Sequence[Fold], strength: float = 1.0) -> np.ndarray:
    """(cases,) out-of-fold probabilities of a logistic model on features (cases, values).

    Standardized by the training part and weighted by class; ``strength`` is that of the l2 penalty, for one deviation.
    """
    from sklearn.linear_model import LogisticRegression

    probabilities = np.zeros(len(labels))
    for fold in folds:
        training = _training(fold)
        mean, deviation = features[training].mean(axis=0), features[training].std(axis=0)
        scaled = (features - mean) / np.where(deviation > 0, deviation, 1.0)
        model = LogisticRegression(C=1 / strength, class_weight="balanced", max_iter=2000)
        model.fit(scaled[training], labels[training])
        probabilities[fold.test] = model.predict_proba(scaled[fold.test])[:, list(model.classes_).index(1)]
    return probabilities


def _training(fold: Fold) -> np.ndarray:
    """All that is not tested on: a baseline without early stopping needs no validation part."""
    return np.concatenate([fold.train, fold.validation])
