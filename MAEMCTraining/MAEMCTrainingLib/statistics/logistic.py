"""Logistic regression on few cases and many values: the baselines' model, and the head of a linear probe."""

from __future__ import annotations

from typing import Any

import numpy as np

FEATURE_PENALTY = 10.0
"""Strength of the l2 penalty on an encoder's features, of which there are more than cases."""


def fit_logistic(features: np.ndarray, labels: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    """Weights (values,) and bias of a logistic model of label 1 on features (cases, values), in their own units.

    Fitted on features standardized by these cases, weighted so that both classes count alike; ``penalty`` is the
    strength of the l2 penalty for one standard deviation.
    """
    model, mean, deviation = _fitted(features, labels, penalty)
    weights = model.coef_[0] / deviation
    return weights, float(model.intercept_[0] - weights @ mean)


def _fitted(features: np.ndarray, labels: np.ndarray, penalty: float) -> tuple[Any, np.ndarray, np.ndarray]:
    from sklearn.linear_model import LogisticRegression

    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    model = LogisticRegression(C=1 / penalty, class_weight="balanced", max_iter=2000)
    return model.fit((features - mean) / deviation, labels), mean, deviation


def fit_classes(features: np.ndarray, labels: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights (classes, values) and biases (classes,) whose softmax is a logistic model of the labels 0, 1 ... on
    features (cases, values); the rest as in ``fit_logistic``."""
    if labels.max() < 2:
        # Two logits whose difference is the logistic model's: what a two-class layer with cross-entropy would hold.
        weights, bias = fit_logistic(features, labels, penalty)
        return np.stack([-weights / 2, weights / 2]), np.array([-bias / 2, bias / 2])
    model, mean, deviation = _fitted(features, labels, penalty)
    weights = model.coef_ / deviation
    return weights, model.intercept_ - weights @ mean
