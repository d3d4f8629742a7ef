"""The validation and the test rows that a manifest names, as the whole model scores them: the mean of its fold models,
calibrated and called as the exported bundle does it.

The test rows trained nothing and chose nothing. The validation rows chose the epoch and the thresholds, so that their
figures are too good; they stand beside those of the test rows for that reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.errors import InputError

from ..classifiers.fold_model import fold_result
from ..data.parts import TEST, VALIDATION
from .calibration import Calibration
from .html import table as html_table
from .metrics import confusion, evaluate
from .operating_points import at_points
from .predictions import PredictionTable
from .tables import PART_COLUMNS, TITLES, cell


def evaluated_rows(settings: dict[str, Any]) -> str:
    """What the figures are of: out of fold, or of the rows of a part of the manifest's split."""
    parts = settings.get("parts")
    if not parts or not parts[VALIDATION] or settings["configuration"].get("folds_from"):
        return "out-of-fold"
    return f"{TEST if parts[TEST] else VALIDATION} rows"


def about_parts(report: dict[str, Any]) -> list[str]:
    """Which rows of the manifest the figures are of."""
    evaluated = report["evaluation"]
    if evaluated == "out-of-fold":
        notes = ["Predictions are out of fold."]
        if report["parts_of_split"]:
            notes.append("Folds are of the manifest's training rows.")
    elif evaluated.startswith(TEST):
        notes = ["The figures are of the manifest's test rows, which trained nothing and chose nothing."]
    else:
        notes = [
            "The manifest has no test rows: the figures are of its validation rows, which chose the epoch and the "
            "thresholds. They are too good."
        ]
    return notes


def report_parts(
    folder: Path, folds: int, calibration: Calibration, thresholds: dict[str, float], output: Path
) -> dict[str, dict[str, Any]]:
    """{part: its figures} of the parts that the manifest named; their predictions-PART.csv are written to ``output``.

    Raises InputError where the results of the folds do not fit each other.
    """
    results = [fold_result(folder, number).get("parts", {}) for number in range(folds)]
    found = {}
    for part in (VALIDATION, TEST):
        if not all(part in result for result in results):
            continue
        table = _mean_of_folds([result[part] for result in results], calibration, folder)
        table.write(output / f"predictions-{part}.csv")
        found[part] = _figures(table, thresholds) | {"chose_the_epoch": part == VALIDATION}
    return found


def _mean_of_folds(folds: Sequence[list[dict[str, Any]]], calibration: Calibration, folder: Path) -> PredictionTable:
    first = folds[0]
    names = [row["case_id"] for row in first]
    if any([row["case_id"] for row in rows] != names for rows in folds):
        raise InputError(
            f"The folds of {folder} scored different test rows. Remove the result.json of its folds and repeat the "
            "fine-tuning's command.",
            "damaged-result",
            [folder],
        )
    scores = np.array([[row["probability"] for row in rows] for rows in folds])
    return PredictionTable(
        case_ids=names,
        patients=[row["patient"] for row in first],
        labels=np.array([row["label"] for row in first]),
        probabilities=np.mean([calibration.apply(values) for values in scores], axis=0),
        network=scores.mean(axis=0),
        rows=[row["row"] for row in first],
    )


def _figures(table: PredictionTable, thresholds: dict[str, float]) -> dict[str, Any]:
    labels, patients = table.labels, table.patient_numbers
    metrics = evaluate(labels, table.probabilities, patients, thresholds["balanced"])
    return {
        "cases": len(labels),
        "patients": len(np.unique(patients)),
        "malignant": int((labels == 1).sum()),
        "benign": int((labels == 0).sum()),
        "metrics": {key: asdict(metric) for key, metric in metrics.items()},
        "counts": confusion(labels, table.probabilities, thresholds["balanced"]),
        "operating_points": at_points(labels, table.probabilities, patients, thresholds),
    }


def parts_as_html(parts: dict[str, dict[str, Any]]) -> list[str]:
    """A section of the page for each part."""
    lines = []
    for part in sorted(parts):
        figures = parts[part]
        role = "They chose the epoch and the thresholds: their figures are too good."
        if part == TEST:
            role = "They trained nothing and chose nothing; the whole model scores them, as its bundle would."
        counts = figures["counts"]
        row = (
            f"{figures['cases']} of {figures['patients']} patients: {figures['malignant']} malignant, "
            f"{figures['benign']} benign",
            *(cell(figures["metrics"].get(key)) for key in PART_COLUMNS),
            *(counts[key] for key in ("tp", "fp", "tn", "fn")),
        )
        heads = ("Cases", *PART_COLUMNS.values(), "TP", "FP", "TN", "FN")
        lines += [f"<h2>{TITLES[part]}</h2>", f"<p class='soft'>{role}</p>", html_table(heads, [row])]
    return lines
