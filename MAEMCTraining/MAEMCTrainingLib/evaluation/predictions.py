"""predictions.csv: what the metrics are computed from, a row a case.

Where it belongs to a job, cases are pseudonyms, and the column ``row`` says which row of the manifest each is, counted
as in a spreadsheet. Where other data were scored it is the user's own result and has the user's own case_ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from MAEMCLib.errors import InputError
from MAEMCLib.files.atomic import replacing
from MAEMCLib.files.spreadsheet import RowWriter, records

_COLUMNS = ("case_id", "patient_id", "fold", "label", "probability", "network_probability", "row")


@dataclass(frozen=True)
class PredictionTable:
    """Labeled cases with their probabilities.

    patients: pseudonyms. labels: (cases,) 0 or 1. probabilities: (cases,) as a reader gets them. folds: (cases,) which
    fold tested the case, None where other data were scored. network: (cases,) before calibration, None where the
    bundle does not tell. others: name of a baseline -> its (cases,) probabilities, or scores that only rank. rows: of
    the manifest, empty where they are not known.
    """

    case_ids: list[str]
    patients: list[str]
    labels: np.ndarray
    probabilities: np.ndarray
    folds: np.ndarray | None = None
    network: np.ndarray | None = None
    others: Mapping[str, np.ndarray] = field(default_factory=dict)
    rows: Sequence[int] = ()

    @property
    def patient_numbers(self) -> np.ndarray:
        """(cases,) int64: patients numbered by first appearance, so that no interval hangs on pseudonyms."""
        numbers: dict[str, int] = {}
        return np.array([numbers.setdefault(patient, len(numbers)) for patient in self.patients], dtype=np.int64)

    def write(self, path: Path) -> None:
        """Replace the file. Raises InputError where it cannot be written."""
        columns = {
            "case_id": self.case_ids,
            "patient_id": self.patients,
            "fold": _texts(self.folds, len(self.labels), "d"),
            "label": _texts(self.labels, len(self.labels), "d"),
            "probability": _texts(self.probabilities, len(self.labels), ".6f"),
            "network_probability": _texts(self.network, len(self.labels), ".6f"),
            **({"row": [str(row) for row in self.rows]} if len(self.rows) else {}),
            **{name: _texts(values, len(self.labels), ".6f") for name, values in self.others.items()},
        }
        with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
            writer = RowWriter(stream)
            writer.row(columns)
            writer.rows(zip(*columns.values(), strict=True))


def as_written(values: np.ndarray) -> np.ndarray:
    """The numbers that a file holds of these: what is computed from them is the same when they are read again."""
    return _numbers(_texts(values, len(values), ".6f"))


def _texts(values: np.ndarray | None, count: int, style: str) -> list[str]:
    return [""] * count if values is None else [format(value, style) for value in values.tolist()]


def read_predictions(path: Path) -> PredictionTable:
    """What ``PredictionTable.write`` wrote. Raises InputError."""
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            rows = records(stream)
        names = list(rows[0]) if rows else []
        columns = {name: [row[name] for row in rows] for name in names}
        return PredictionTable(
            case_ids=columns["case_id"],
            patients=columns["patient_id"],
            labels=np.array([int(value) for value in columns["label"]]),
            probabilities=_numbers(columns["probability"]),
            folds=np.array([int(value) for value in columns["fold"]]),
            network=_numbers(columns["network_probability"]) if "network_probability" in columns else None,
            rows=[int(value) for value in columns.get("row", [])],
            others={name: _numbers(columns[name]) for name in names if name not in _COLUMNS},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"The predictions {path} cannot be read ({type(error).__name__}: {error}). "
            "Repeat the command that wrote them.",
            "damaged-predictions",
        ) from error


def _numbers(texts: list[str]) -> np.ndarray:
    return np.array([float(text) for text in texts])
