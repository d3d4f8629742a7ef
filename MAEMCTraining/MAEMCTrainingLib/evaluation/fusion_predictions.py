"""predictions.csv of a fusion: out-of-fold probabilities of each class, of the model, its branches and baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from MAEMCLib.errors import InputError
from MAEMCLib.files.atomic import replacing
from MAEMCLib.files.spreadsheet import RowWriter, records

from ..jobs.job import Job


@dataclass(frozen=True)
class FusionPredictions:
    """Cases with a distribution over the classes.

    patients: pseudonyms. folds, labels: (cases,) int, which fold tested the case and the number of its class. tables:
    {model: (cases, classes)}, the model itself being ""; NaN where a branch was not observed.
    """

    case_ids: Sequence[str]
    patients: Sequence[str]
    folds: np.ndarray
    labels: np.ndarray
    classes: Sequence[str]
    tables: Mapping[str, np.ndarray]

    @property
    def patient_numbers(self) -> np.ndarray:
        """(cases,) patients numbered by first appearance, so that no interval hangs on pseudonyms."""
        numbers: dict[str, int] = {}
        return np.array([numbers.setdefault(patient, len(numbers)) for patient in self.patients])

    def write(self, path: Path, calibrated: np.ndarray | None = None) -> None:
        """Replace the file. calibrated: (cases,) of the positive of two classes, as a reader of the model gets it."""
        columns: dict[str, Sequence[object]] = {
            "case_id": self.case_ids,
            "patient_id": self.patients,
            "fold": self.folds.tolist(),
            "label": self.labels.tolist(),
            "class": [self.classes[number] for number in self.labels],
        }
        for name, table in self.tables.items():
            for number, label in enumerate(self.classes):
                columns[_column(name, label)] = [f"{value:.6f}" for value in table[:, number]]
        if calibrated is not None:
            columns["probability"] = [f"{value:.6f}" for value in calibrated]
        with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
            writer = RowWriter(stream)
            writer.row(columns)
            writer.rows(zip(*columns.values(), strict=True))


def read_fusion_predictions(job: Job) -> FusionPredictions:
    """Of a job's folder. Raises InputError: the file is missing, damaged or of other classes."""
    path, classes = job.folder / "predictions.csv", job.settings["classes"]
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            rows = records(stream)
        last = f": {classes[0]}"
        models = ["", *(name.removesuffix(last) for name in rows[0] if name.endswith(last))]
        return FusionPredictions(
            [row["case_id"] for row in rows],
            [row["patient_id"] for row in rows],
            np.array([int(row["fold"]) for row in rows]),
            np.array([int(row["label"]) for row in rows]),
            classes,
            {
                model: np.array([[float(row[_column(model, label)]) for label in classes] for row in rows])
                for model in models
            },
        )
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise InputError(
            f"The predictions {path} cannot be read ({type(error).__name__}: {error}). Repeat the fusion's command.",
            "damaged-predictions",
        ) from error


def _column(model: str, label: str) -> str:
    """The column of one model's probability of one class; the model itself has no name."""
    return f"{model}: {label}" if model else f"probability of {label}"
