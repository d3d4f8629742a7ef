"""All figures of a table of predictions, of a job or of other data, with two classes or more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from MAEMCLib.report.sections import Metric

from ..statistics.bootstrap import patient_samples, two_class_samples
from ..statistics.calibration import reliability
from ..statistics.delong import Comparison, delong
from ..statistics.metrics import area, auc_difference, by_class, confusion, confusion_matrix, evaluate, evaluate_classes
from ..statistics.operating_points import at_points
from .evaluation import CalibrationFacts, Decisions, Evaluation, Metrics
from .out_of_fold import BRANCH
from .predictions import PredictionTable

_MOVED = ("brier", "ece", "ece_if_calibrated", "calibration_slope", "calibration_intercept")
"""What a calibration changes."""


def measure(
    table: PredictionTable, decisions: Decisions, threshold: float | np.ndarray, scores: np.ndarray, **facts: Any
) -> Evaluation:
    """The evaluation of a table. threshold: each case's own, or one. scores: (cases,) what two classes are ranked by.

    facts: the fields of ``Evaluation`` that are no figures.
    """
    labels, patients, two = table.labels, table.patient_numbers, len(table.classes) == 2
    ranked = None
    if two:
        ranked = evaluate(labels, table.probabilities[:, 1], patients, threshold, table.folds, scores)
    branches, baselines, comparisons = _others(table, scores)
    counts = np.bincount(labels, minlength=len(table.classes)).tolist()
    return Evaluation(
        cases=len(labels),
        patients=len(np.unique(patients)),
        classes=dict(zip(table.classes, counts, strict=True)),
        macro=table.by_class,
        metrics=macro_figures(table, table.scores) if table.by_class else ranked,
        two_class_metrics=ranked if table.by_class else None,
        by_class=by_class(labels, table.scores, table.classes, patients),
        confusion_matrix=confusion_matrix(labels, table.scores),
        branches=branches,
        baselines=baselines,
        comparisons=comparisons,
        decisions=decisions,
        **facts,
    )


def macro_figures(table: PredictionTable, probabilities: np.ndarray, samples: np.ndarray | None = None) -> Metrics:
    """Means over the classes of probabilities (cases, C) of the table's cases, of those that have some; empty where
    these are not of every class. samples: of ``patient_samples``, where they are drawn already."""
    labels, patients = table.labels, table.patient_numbers
    samples = patient_samples(labels, patients) if samples is None else samples
    kept = np.isfinite(probabilities).all(axis=1)
    if len(np.unique(labels[kept])) < len(table.classes):
        return {}
    return evaluate_classes(labels[kept], probabilities[kept], patients[kept], samples[:, kept])


def _others(
    table: PredictionTable, scores: np.ndarray
) -> tuple[dict[str, Metrics], dict[str, Metrics], dict[str, Comparison]]:
    """Figures of the branches and of the baselines, and the model beside the latter."""
    labels, patients = table.labels, table.patient_numbers
    samples = patient_samples(labels, patients) if table.by_class else two_class_samples(labels, patients)
    branches: dict[str, Metrics] = {}
    baselines: dict[str, Metrics] = {}
    comparisons: dict[str, Comparison] = {}
    for name, values in table.others.items():
        branch = name.startswith(BRANCH)
        if values.ndim == 1:  # it ranks, and is no probability
            figures: Mapping[str, Metric] = {"macro_auc" if table.by_class else "auc": area(labels, values, patients)}
        elif table.by_class:
            figures = macro_figures(table, values, samples)
        else:
            kept = np.isfinite(values).all(axis=1)
            folds = None if table.folds is None else table.folds[kept]
            figures = evaluate(labels[kept], values[kept, 1], patients[kept], 0.5, folds)
        if not figures:
            continue
        (branches if branch else baselines)[name.removeprefix(BRANCH)] = figures
        if branch:
            continue
        if table.by_class:
            own = table.scores if values.ndim == 2 else scores
            comparisons[name] = Comparison(auc_difference(labels, own, values, patients, samples))
        else:
            values = values if values.ndim == 1 else values[:, 1]
            difference = auc_difference(labels, scores, values, patients, samples)
            comparisons[name] = Comparison(difference, delong(labels, scores, values))
    return branches, baselines, comparisons


def decide(
    table: PredictionTable,
    calibration: CalibrationFacts,
    thresholds: Mapping[str, float],
    used: Mapping[str, np.ndarray] | None = None,
    prior: float | None = None,
    thresholds_reason: str | None = None,
) -> Decisions:
    """How cases of two classes are called, and what that gives. used: the thresholds of each case, where folds have
    their own."""
    labels, patients, probabilities = table.labels, table.patient_numbers, table.probabilities[:, 1]
    before = None
    if calibration.calibrated and table.network is not None:
        plain = evaluate(labels, table.network[:, 1], patients, 0.5)
        before = {key: plain[key] for key in _MOVED}
    return Decisions(
        calibration=calibration,
        thresholds=thresholds,
        prior_in_probability=prior,
        thresholds_reason=thresholds_reason,
        counts=confusion(labels, probabilities, (used or {}).get("balanced", thresholds["balanced"])),
        operating_points=at_points(labels, probabilities, patients, thresholds, used),
        reliability=reliability(labels, probabilities, patients),
        before_calibration=before,
    )
