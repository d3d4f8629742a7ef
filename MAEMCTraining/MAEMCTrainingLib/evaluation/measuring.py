"""All figures of a table of predictions, of a job or of other data, with two classes or more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..statistics.bootstrap import patient_samples, two_class_samples
from ..statistics.calibration import reliability
from ..statistics.delong import Comparison, delong
from ..statistics.metrics import area, auc_difference, by_class, confusion_matrix, evaluate, evaluate_classes
from ..statistics.operating_points import at_points
from .evaluation import Decisions, Evaluation, Metrics
from .out_of_fold import BRANCH
from .predictions import PredictionTable, second_of

_MOVED = ("brier", "ece", "ece_if_calibrated", "calibration_slope", "calibration_intercept")
"""What a calibration changes."""


def measure(
    table: PredictionTable, decisions: Decisions, threshold: float | np.ndarray, scores: np.ndarray, **facts: Any
) -> Evaluation:
    """The evaluation of a table. threshold: each case's own, or one. scores: (cases,) what two classes are ranked by.

    facts: the fields of ``Evaluation`` that are no figures.
    """
    labels, patients, ranked = table.labels, table.patient_numbers, None
    if len(table.classes) == 2:
        ranked = evaluate(labels, table.probabilities[:, 1], patients, threshold, table.folds, scores)
    samples = patient_samples(labels, patients) if table.by_class else two_class_samples(labels, patients)
    branches: dict[str, Metrics] = {}
    baselines: dict[str, Metrics] = {}
    comparisons: dict[str, Comparison] = {}
    for name, values in table.others.items():
        figures = _figures(table, values, samples)
        if name.startswith(BRANCH):
            branches |= {name.removeprefix(BRANCH): figures} if figures else {}
        elif figures:
            baselines[name] = figures
            own = table.scores if table.by_class and values.ndim == 2 else scores
            difference = auc_difference(labels, own, values, patients, samples)
            comparisons[name] = Comparison(
                difference, None if table.by_class else delong(labels, scores, second_of(values))
            )
    return Evaluation(
        **counts_of(table),
        macro=table.by_class,
        metrics=macro_figures(table, table.scores, samples) if table.by_class else ranked,
        two_class_metrics=ranked if table.by_class else None,
        by_class=by_class(labels, table.scores, table.classes, patients),
        branches=branches,
        baselines=baselines,
        comparisons=comparisons,
        decisions=decisions,
        **facts,
    )


def counts_of(table: PredictionTable) -> dict[str, Any]:
    """Cases, patients, cases of each class and the confusion matrix, by the names of ``Evaluation`` and ``Part``."""
    counts = np.bincount(table.labels, minlength=len(table.classes)).tolist()
    return {
        "cases": len(table.labels),
        "patients": len(set(table.patients)),
        "classes": dict(zip(table.classes, counts, strict=True)),
        "confusion_matrix": confusion_matrix(table.labels, table.scores),
    }


def macro_figures(table: PredictionTable, probabilities: np.ndarray, samples: np.ndarray) -> Metrics:
    """Means over the classes of probabilities (cases, C) of the table's cases, of those that have some; empty where
    these are not of every class. samples: of ``patient_samples``."""
    there = np.isfinite(probabilities).all(axis=1)
    labels = table.labels[there]
    if len(np.unique(labels)) < len(table.classes):
        return {}
    return evaluate_classes(labels, probabilities[there], table.patient_numbers[there], samples[:, there])


def _figures(table: PredictionTable, values: np.ndarray, samples: np.ndarray) -> Metrics:
    """Of a branch or a baseline; empty where it is not of every class."""
    if values.ndim == 1:  # it ranks, and is no probability
        return {"macro_auc" if table.by_class else "auc": area(table.labels, values, table.patient_numbers)}
    if table.by_class:
        return macro_figures(table, values, samples)
    there = np.isfinite(values[:, 1])
    folds = None if table.folds is None else table.folds[there]
    return evaluate(table.labels[there], values[there, 1], table.patient_numbers[there], 0.5, folds)


def with_figures(
    decisions: Decisions, table: PredictionTable, used: Mapping[str, np.ndarray] | None = None
) -> Decisions:
    """What comes of calling cases of two classes so. used: the thresholds of each case, where folds have their own."""
    labels, patients, probabilities, before = table.labels, table.patient_numbers, table.probabilities[:, 1], None
    if decisions.calibration.calibrated and table.network is not None:
        plain = evaluate(labels, table.network[:, 1], patients, 0.5)
        before = {key: plain[key] for key in _MOVED}
    points = at_points(labels, probabilities, patients, decisions.thresholds, used)
    return replace(
        decisions,
        counts=points["balanced"].counts,
        operating_points=points,
        reliability=reliability(labels, probabilities, patients),
        before_calibration=before,
    )
