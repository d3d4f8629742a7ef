"""predictions.csv: what the metrics are computed from, a row a case.

Where it belongs to a job, cases are pseudonyms, and the column ``row`` says which row of the manifest each is, counted
as in a spreadsheet. Where other data were scored it is the user's own result and has the user's own case_ids.

There are two layouts. Of a classifier of benign and malignant a column holds the probability of the latter:
``probability`` as a reader gets it, ``network_probability`` before calibration, and one for each baseline. By class
there is a column for each class of each model, ``probability of CLASS`` and ``BASELINE: CLASS``, and ``probability`` is
the calibrated one of the second of two classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from MAEMCLib.errors import InputError
from MAEMCLib.files.atomic import replacing
from MAEMCLib.files.spreadsheet import RowWriter, records

from ..classifiers.cases import OWN_CLASSES

_COLUMNS = ("case_id", "patient_id", "fold", "label", "class", "probability", "network_probability", "row")
_OF = "probability of "
BRANCH, IMAGES_ALONE = "branch ", "images alone"
"""How a branch's own predictions are named, before the branch, and those of a network without clinical values."""


@dataclass(frozen=True)
class PredictionTable:
    """Labeled cases with their probabilities, (cases, C) each.

    patients: pseudonyms. labels: (cases,) numbers of classes. probabilities: as a reader gets them. network: before
    calibration, None where the bundle does not tell. others: name of a branch or baseline -> its probabilities, NaN
    where a branch was not observed; (cases,) where they are scores that only rank. folds: (cases,) which fold tested
    the case, None where other data were scored. rows: of the manifest, empty where they are not known. by_class: the
    layout of the file.
    """

    case_ids: Sequence[str]
    patients: Sequence[str]
    labels: np.ndarray
    probabilities: np.ndarray
    folds: np.ndarray | None = None
    network: np.ndarray | None = None
    others: Mapping[str, np.ndarray] = field(default_factory=dict)
    rows: Sequence[int] = ()
    classes: tuple[str, ...] = OWN_CLASSES
    by_class: bool = False

    @property
    def patient_numbers(self) -> np.ndarray:
        """(cases,) int64: patients numbered by first appearance, so that no interval hangs on pseudonyms."""
        numbers: dict[str, int] = {}
        return np.array([numbers.setdefault(patient, len(numbers)) for patient in self.patients], dtype=np.int64)

    @property
    def scores(self) -> np.ndarray:
        """(cases, C) what the model ranks by: the network's own probabilities, where they are known."""
        return self.probabilities if self.network is None else self.network

    def as_written(self) -> PredictionTable:
        """With the numbers that the file holds: what is computed from them is the same when they are read again."""
        others = {name: _rounded(values) for name, values in self.others.items()}
        network = None if self.network is None else _rounded(self.network)
        return replace(self, probabilities=_rounded(self.probabilities), network=network, others=others)

    def write(self, path: Path) -> None:
        """Replace the file. Raises InputError where it cannot be written."""
        columns = {
            "case_id": list(self.case_ids),
            "patient_id": list(self.patients),
            "fold": [""] * len(self.labels) if self.folds is None else [str(fold) for fold in self.folds.tolist()],
            "label": [str(label) for label in self.labels.tolist()],
            **self._of_models(),
        }
        with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
            writer = RowWriter(stream)
            writer.row(columns)
            writer.rows(zip(*columns.values(), strict=True))

    def _of_models(self) -> dict[str, list[str]]:
        rows = {"row": [str(row) for row in self.rows]} if len(self.rows) else {}
        if not self.by_class:
            network = [""] * len(self.labels) if self.network is None else _texts(self.network[:, 1])
            others = {name: _texts(second_of(values)) for name, values in self.others.items()}
            return {"probability": _texts(self.probabilities[:, 1]), "network_probability": network, **rows, **others}
        columns = {"class": [self.classes[number] for number in self.labels], **rows}
        for name, values in {"": self.scores, **self.others}.items():
            if values.ndim == 1:
                columns[name] = _texts(values)
            else:
                named = zip(self.classes, values.T, strict=True)
                columns |= {_column(name, label): _texts(column) for label, column in named}
        if len(self.classes) == 2:
            columns["probability"] = _texts(self.probabilities[:, 1])
        return columns


def second_of(values: np.ndarray) -> np.ndarray:
    """(cases,) of two classes what the second is ranked by: the scores themselves, or of (cases, 2) its column."""
    return values if values.ndim == 1 else values[:, 1]


def of_second(probabilities: np.ndarray) -> np.ndarray:
    """(cases, 2) from the probabilities of the second of two classes, (cases,)."""
    return np.stack([1 - probabilities, probabilities], axis=1)


def read_predictions(path: Path) -> PredictionTable:
    """What ``PredictionTable.write`` wrote. Raises InputError."""
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            rows = records(stream)
        columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
        classes = tuple(name.removeprefix(_OF) for name in columns if name.startswith(_OF))
        probabilities, network, others = _models(columns, classes)
        return PredictionTable(
            case_ids=columns["case_id"],
            patients=columns["patient_id"],
            labels=np.array([int(value) for value in columns["label"]]),
            probabilities=probabilities,
            folds=np.array([int(value) for value in columns["fold"]]),
            network=network,
            rows=[int(value) for value in columns.get("row", [])],
            others=others,
            classes=classes or OWN_CLASSES,
            by_class=bool(classes),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"The predictions {path} cannot be read ({type(error).__name__}: {error}). "
            "Repeat the command that wrote them.",
            "damaged-predictions",
        ) from error


def _models(
    columns: Mapping[str, list[str]], classes: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray | None, dict[str, np.ndarray]]:
    """Probabilities, the network's, and those of the others."""

    def own(name: str) -> np.ndarray | None:
        return of_second(_numbers(columns[name])) if name in columns else None

    others = [name for name in columns if name not in _COLUMNS and not name.startswith(_OF)]
    if not classes:
        return of_second(_numbers(columns["probability"])), own("network_probability"), {n: own(n) for n in others}
    first = f": {classes[0]}"
    models = ["", *(name.removesuffix(first) for name in others if name.endswith(first))]
    tables = {
        model: np.stack([_numbers(columns[_column(model, label)]) for label in classes], axis=1) for model in models
    }
    network, calibrated = tables.pop(""), own("probability")
    return network if calibrated is None else calibrated, network, tables


def _column(model: str, label: str) -> str:
    """The column of one model's probability of one class; the model itself has no name."""
    return f"{model}: {label}" if model else f"{_OF}{label}"


def _texts(values: np.ndarray) -> list[str]:
    return [f"{value:.6f}" for value in values.tolist()]


def _numbers(texts: list[str]) -> np.ndarray:
    return np.array([float(text) for text in texts])


def _rounded(values: np.ndarray) -> np.ndarray:
    return _numbers(_texts(values.ravel())).reshape(values.shape)
