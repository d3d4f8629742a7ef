"""The validation and the test rows that a manifest names, as the whole model scores them: the mean of its fold models,
calibrated and called as the exported bundle does it.

The test rows trained nothing and chose nothing. The validation rows chose the epoch and the thresholds, so that their
figures are too good; they stand beside those of the test rows for that reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.errors import InputError

from ..classifiers.fold_model import fold_result
from ..data.parts import TEST, VALIDATION
from ..statistics.bootstrap import patient_samples
from ..statistics.calibration import Calibration
from ..statistics.metrics import evaluate
from ..statistics.operating_points import at_points
from .evaluation import Decisions, Part, counts_of, macro_figures
from .out_of_fold import probabilities_of
from .predictions import PredictionTable, of_second


def evaluated_rows(settings: Mapping[str, Any]) -> str:
    """What the figures are of: out of fold, or of the rows of a part of the manifest's split."""
    parts = settings.get("parts")
    if not parts or not parts[VALIDATION] or settings["configuration"].get("folds_from"):
        return "out-of-fold"
    return f"{TEST if parts[TEST] else VALIDATION} rows"


def about_parts(evaluated: str, divided: bool) -> list[str]:
    """Which rows of the manifest the figures are of. divided: whether it has a split."""
    if evaluated == "out-of-fold":
        notes = ["Predictions are out of fold."]
        return [*notes, "Folds are of the manifest's training rows."] if divided else notes
    if evaluated.startswith(TEST):
        return ["The figures are of the manifest's test rows, which trained nothing and chose nothing."]
    return [
        "The manifest has no test rows: the figures are of its validation rows, which chose the epoch and the "
        "thresholds. They are too good."
    ]


def evaluate_parts(
    folder: Path, table: PredictionTable, folds: int, decisions: Decisions
) -> dict[str, tuple[PredictionTable, Part]]:
    """Of the parts that the manifest named: what the whole model says of their cases, and how good that is.

    table: the job's own predictions, for its classes. Raises InputError where the results of the folds do not fit each
    other.
    """
    results = [fold_result(folder, number).get("parts", {}) for number in range(folds)]
    found = {}
    for part in (VALIDATION, TEST):
        if all(result.get(part) for result in results):
            scored = _mean_of_folds([result[part] for result in results], table, decisions.calibration, folder)
            if len(np.unique(scored.labels)) == len(table.classes):
                found[part] = scored, _figures(scored, decisions.thresholds, part)
    return found


def _mean_of_folds(
    folds: Sequence[list[dict[str, Any]]], own: PredictionTable, calibration: Calibration, folder: Path
) -> PredictionTable:
    first = folds[0]
    names = [row["case_id"] for row in first]
    if any([row["case_id"] for row in rows] != names for rows in folds):
        raise InputError(
            f"The folds of {folder} scored different test rows. Remove the result.json of its folds and repeat the "
            "training's command.",
            "damaged-result",
            [folder],
        )
    scores = np.array([[probabilities_of(row) for row in rows] for rows in folds])
    network = probabilities = scores.mean(axis=0)
    if len(own.classes) == 2:
        probabilities = of_second(np.mean([calibration.apply(values[:, 1]) for values in scores], axis=0))
    return PredictionTable(
        case_ids=names,
        patients=[row["patient"] for row in first],
        labels=np.array([row["label"] for row in first]),
        probabilities=probabilities,
        network=network,
        rows=[row["row"] for row in first],
        classes=own.classes,
        by_class=own.by_class,
    )


def _figures(table: PredictionTable, thresholds: Mapping[str, float], part: str) -> Part:
    labels, patients, second = table.labels, table.patient_numbers, table.probabilities[:, 1]
    if table.by_class:
        metrics = macro_figures(table, table.scores, patient_samples(labels, patients))
    else:
        metrics = evaluate(labels, second, patients, thresholds["balanced"])
    points = at_points(labels, second, patients, thresholds) if len(table.classes) == 2 else None
    return Part(
        **counts_of(table),
        metrics=metrics,
        chose_the_epoch=part == VALIDATION,
        counts=points["balanced"].counts if points else None,
        operating_points=points,
    )
