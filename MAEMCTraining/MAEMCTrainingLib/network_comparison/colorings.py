"""By what the cases of a comparison are told apart: their label, and columns of the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from MAEMCLib.errors import UsageError

from ..data.cohort import UNLABELED, Cohort
from ..data.columns import read_columns

LABEL = "label"
JOINED = "+"
_CLASSES = {0: "benign", 1: "malignant"}


@dataclass(frozen=True)
class Coloring:
    """name: "label", a column, or several joined by "+". values: (cases,) text, empty where nothing is said."""

    name: str
    values: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """(cases,) bool."""
        return self.values != ""

    @property
    def counts(self) -> dict[str, int]:
        """How many cases have each value, the most frequent first."""
        names, numbers = np.unique(self.values[self.known], return_counts=True)
        return {str(names[place]): int(numbers[place]) for place in np.argsort(-numbers, kind="stable")}

    @property
    def numbers(self) -> np.ndarray:
        """(known cases,) the number of each one's class."""
        return np.unique(self.values[self.known], return_inverse=True)[1]

    def reason_against(self, patients: np.ndarray) -> str:
        """Why no figure can be given of it; empty where one can. patients: (cases,) numbers."""
        counts = self.counts
        if not counts:
            return "no case says anything there"
        if len(counts) < 2:
            return f"all {sum(counts.values())} cases are {next(iter(counts))}"
        if len(np.unique(patients[self.known])) < 2:
            return "all cases are of one patient"
        return ""


def read_values(data: Path, columns: Sequence[str], home: Path) -> dict[str, dict[str, str]]:
    """{column: {pseudonym of a case: its text}} of a manifest; ``modality+anatomy`` are the pairs of two columns'
    values, empty where one of them is.

    Raises UsageError for an empty name; InputError: a cache, which holds no columns, a manifest without one of them (it
    is named).
    """
    groups = {name: [part.strip() for part in name.split(JOINED)] for name in columns if name != LABEL}
    if not groups:
        return {}
    if not all(part for parts in groups.values() for part in parts):
        raise UsageError(f"--columns {','.join(columns)} has an empty name. Write modality,anatomy.", "columns")
    said = read_columns([data], sorted({part for parts in groups.values() for part in parts}), home)
    found: dict[str, dict[str, str]] = {}
    for name, parts in groups.items():
        rows = {case: [values[part] for part in parts] for case, values in said.items()}
        found[name] = {case: f" {JOINED} ".join(row) if all(row) else "" for case, row in rows.items()}
    return found


def colorings_of(cohort: Cohort, values: Mapping[str, Mapping[str, str]]) -> list[Coloring]:
    """The label, then each column that ``read_values`` read."""
    labels = ["" if label == UNLABELED else _CLASSES[label] for label in cohort.labels.tolist()]
    columns = {name: [said.get(case.case_id, "") for case in cohort.cases] for name, said in values.items()}
    return [Coloring(name, np.array(texts)) for name, texts in ({LABEL: labels} | columns).items()]
