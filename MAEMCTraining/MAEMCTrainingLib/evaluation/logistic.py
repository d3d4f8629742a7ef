"""Logistic regression on few cases and many values: the baselines' model, and the head of a linear probe."""

from __future__ import annotations

import numpy as np

FEATURE_PENALTY = 10.0
"""Strength of the l2 penalty on an encoder's features, of which there are more than cases."""


def fit_logistic(features: np.ndarray, labels: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    """Weights (values,) and bias of a logistic model of label 1 on features (cases, values), in their own units.

    Fitted on features standardized by these cases, weighted so that both classes count alike; ``penalty`` is the
    strength of the l2 penalty for one standard deviation.
    """
    from sklearn.linear_model import LogisticRegression

    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    model = LogisticRegression(C=1 / penalty, class_weight="balanced", max_iter=2000)
    model.fit((features - mean) / deviation, labels)
    weights = model.coef_[0] / deviation
    return weights, float(model.intercept_[0] - weights @ mean)
