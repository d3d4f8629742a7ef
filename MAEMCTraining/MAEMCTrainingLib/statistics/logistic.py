"""Logistic regression on few cases and many values: the baselines' model, and the head of a linear probe."""

from typing import Any

import numpy as np

FEATURE_PENALTY = 10.0
"""Strength of the l2 penalty on an encoder's features, of which there are more than cases."""


def fit_logistic(features: np.ndarray, labels: np.ndarray, penalty: float) -> tuple[Any, np.ndarray, np.ndarray]:
    """scikit-learn's logistic model of the labels on standardized features, and the mean and deviation (values,) of
    features (cases, values) that standardize them.

    Fitted with weights by which all classes count alike; ``penalty`` is the strength of the l2 penalty for one standard
    deviation.
    """
    from sklearn.linear_model import LogisticRegression

    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    model = LogisticRegression(C=1 / penalty, class_weight="balanced", max_iter=2000)
    return model.fit((features - mean) / deviation, labels), mean, deviation


def fit_classes(features: np.ndarray, labels: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights (classes, values) and biases (classes,) whose softmax is ``fit_logistic`` of the labels 0, 1 ... on
    features in their own units."""
    model, mean, deviation = fit_logistic(features, labels, penalty)
    weights = model.coef_ / deviation
    if len(weights) > 1:
        return weights, model.intercept_ - weights @ mean
    # Two logits whose difference is the logistic model's: what a two-class layer with cross-entropy would hold.
    half, bias = weights[0] / 2, (model.intercept_[0] - weights[0] @ mean) / 2
    return np.stack([-half, half]), np.array([-bias, bias])
