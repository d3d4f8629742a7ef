"""What an evaluation holds, of a job's own cases or of other data, how it is measured, how metrics.json keeps it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from MAEMCLib.report.sections import Metric

from ..classifiers.cases import OWN_CLASSES
from ..statistics.calibration import Calibration, reliability
from ..statistics.intervals import patient_samples, two_class_samples
from ..statistics.metrics import (
    Comparison,
    area,
    auc_difference,
    by_class,
    confusion_matrix,
    delong,
    evaluate,
    evaluate_classes,
)
from ..statistics.operating_points import POINTS, OperatingPoint, at_points
from .groups import GroupRow, LikeSize
from .predictions import BRANCH, PredictionTable, second_of

Metrics = Mapping[str, Metric]
_MOVED = ("brier", "ece", "ece_if_calibrated", "calibration_slope", "calibration_intercept")
"""What a calibration changes."""


@dataclass(frozen=True)
class Decisions:
    """How cases are called. What is None is of two classes only.

    prior_in_probability: the share of the second class that the probabilities assume. thresholds_reason: why they are
    0.5. before_calibration: the figures that a calibration has changed.
    """

    calibration: Calibration
    thresholds: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(POINTS, 0.5))
    prior_in_probability: float | None = None
    thresholds_reason: str | None = None
    counts: Mapping[str, int] | None = None
    operating_points: Mapping[str, OperatingPoint] | None = None
    reliability: Sequence[Mapping[str, Any]] | None = None
    before_calibration: Metrics | None = None


@dataclass(frozen=True)
class Part:
    """The figures of the rows of one part of the manifest's split, scored by the mean of the fold models."""

    cases: int
    patients: int
    classes: Mapping[str, int]
    metrics: Metrics
    confusion_matrix: Sequence[Sequence[int]]
    chose_the_epoch: bool
    counts: Mapping[str, int] | None = None
    operating_points: Mapping[str, OperatingPoint] | None = None


@dataclass(frozen=True)
class JobFacts:
    """Of a job that was evaluated on its own cases.

    pretraining: as ``check_protocol`` gives it. per_fold: a row for each fold. parts_of_split: cases in each part
    of the manifest. training_distances: percentiles 0 ... 100. clinical: what was asked for; seen, given: of how many
    cases there was what. training_errors: by plane, percentiles 0 ... 100 (``reconstruction_errors``).
    """

    protocol: str
    pretraining: str | None
    folds: int
    training: Mapping[str, Any]
    per_fold: Sequence[Mapping[str, Any]]
    parts_of_split: Mapping[str, int] | None
    training_distances: Sequence[float]
    clinical: Sequence[Mapping[str, Any]] = ()
    seen: Mapping[str, int] = field(default_factory=dict)
    given: Mapping[str, int] = field(default_factory=dict)
    training_errors: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class ClickRow:
    """Of one distance: scores from a moved point, in how many nodules, how many of them moved in the plane alone.

    median, high: the median and the 95th percentile of the change of probability. changed: the share of moved points
    whose class is another one. auc: of the nodules by one of their moved points, the mean over the directions.
    """

    distance_mm: float
    points: int
    cases: int
    in_plane: int
    median: float
    high: float
    changed: float
    auc: Metric


@dataclass(frozen=True)
class DataFacts:
    """Of other data that a model was evaluated on.

    model: id, version and hash of a bundle, None of a job. overlap: whether it was trained on some of the patients
    (state and text). failed: rows of the manifest. gates: how many cases have each color. facts: what else to know.
    groups, like_size, clicks: within groups of cases, among those of like size, from points that were moved; like_size
    is None where a size is not known or nothing is of like size.
    """

    model: Mapping[str, str] | None
    overlap: Mapping[str, str]
    unlabeled: int
    failed: Sequence[int]
    gates: Mapping[str, int]
    facts: Sequence[tuple[str, str]]
    groups: Sequence[GroupRow] = ()
    like_size: LikeSize | None = None
    clicks: Sequence[ClickRow] = ()


@dataclass(frozen=True)
class Evaluation:
    """evaluation: what rows the figures are of. metrics, and those of branches and baselines: of two classes the rates
    at a threshold; by class (``macro``) means over the classes, a case being called what is likeliest, and
    two_class_metrics has the former, where there are two. baselines_unavailable: name -> reason.
    """

    subject: str
    evaluation: str
    leaky: bool
    cases: int
    patients: int
    classes: Mapping[str, int]
    macro: bool
    metrics: Metrics
    two_class_metrics: Metrics | None
    by_class: Sequence[Mapping[str, Any]]
    confusion_matrix: Sequence[Sequence[int]]
    branches: Mapping[str, Metrics]
    baselines: Mapping[str, Metrics]
    comparisons: Mapping[str, Comparison]
    baselines_unavailable: Mapping[str, str]
    decisions: Decisions
    job: JobFacts | None = None
    data: DataFacts | None = None
    parts: Mapping[str, Part] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def of_two_classes(self) -> Metrics | None:
        """The figures at a threshold, where there are two classes."""
        return self.two_class_metrics if self.macro else self.metrics

    def to_json(self) -> dict[str, Any]:
        """What metrics.json holds: one level, without what there is none of."""
        values = asdict(self)
        macro, decisions, job, data = (values.pop(key) for key in ("macro", "decisions", "job", "data"))
        if macro:
            values["comparisons"] = {name: found["difference"] for name, found in values["comparisons"].items()}
        if decisions["calibration"]["calibrated"]:
            del decisions["calibration"]["reason"]
        if job is not None and not job["training_errors"]:
            del job["training_errors"]
        values["parts"] = {name: _known(part) | own_counts(part["classes"]) for name, part in values["parts"].items()}
        always = {key: decisions[key] for key in ("prior_in_probability", "thresholds_reason")}
        return _known(values) | own_counts(self.classes) | always | _known(decisions) | (job or {}) | (data or {})


def own_counts(classes: Mapping[str, int]) -> dict[str, int]:
    """Cases of the manifest's own classes, by the names that metrics.json gives them."""
    names = {"malignant": OWN_CLASSES[1], "benign": OWN_CLASSES[0]}
    return {key: classes[name] for key, name in names.items()} if tuple(classes) == OWN_CLASSES else {}


def counted(classes: Mapping[str, int]) -> str:
    """``12 malignant, 30 benign``: how many cases each class has, of two classes the positive one first."""
    names = list(classes)[::-1] if len(classes) == 2 else list(classes)
    return ", ".join(f"{classes[name]} {name.removesuffix('-like')}" for name in names)


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def measure(
    table: PredictionTable, decisions: Decisions, threshold: float | np.ndarray, scores: np.ndarray, **facts: Any
) -> Evaluation:
    """The evaluation of a table. threshold: each case's own, or one. scores: (cases,) what two classes are ranked by.

    facts: the fields of ``Evaluation`` that are no figures.
    """
    labels, patients, ranked = table.labels, table.patient_numbers, None
    samples = patient_samples(labels, patients) if table.by_class else two_class_samples(labels, patients)
    if len(table.classes) == 2:
        drawn = None if table.by_class else samples
        ranked = evaluate(labels, table.probabilities[:, 1], patients, threshold, table.folds, scores, drawn)
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
