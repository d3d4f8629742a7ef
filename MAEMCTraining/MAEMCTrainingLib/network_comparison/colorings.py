"""The groups of cases that a comparison colors and counts: by label, and by columns of the manifest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from MAEMCLib.errors import UsageError

from ..data.cohort import UNLABELED, Cohort
from ..data.sources import Source

LABEL = "label"
JOINED = "+"
_CLASSES = {0: "benign", 1: "malignant"}


@dataclass(frozen=True)
class Coloring:
    """name: "label", a column, or several joined by "+". values: (cases,) text, empty where there is none."""

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


def check_columns(source: Source, columns: Sequence[str]) -> None:
    """Raises UsageError for an empty name; InputError for data without one of the columns, which is named."""
    names = [part for name in columns for part in _parts(name)]
    if not all(names):
        raise UsageError(f"--columns {','.join(columns)} has an empty name. Write modality,anatomy.", "columns")
    source.check_columns(names)


def colorings_of(cohort: Cohort, columns: Sequence[str]) -> list[Coloring]:
    """The label, then each column; ``modality+anatomy`` are the pairs of two columns' values, empty where one is."""
    labels = ["" if label == UNLABELED else _CLASSES[label] for label in cohort.labels.tolist()]
    texts_of = {LABEL: labels}
    for name in columns:
        if name != LABEL:
            rows = [list(texts.values()) for texts in cohort.columns(_parts(name))]
            texts_of[name] = [f" {JOINED} ".join(row) if all(row) else "" for row in rows]
    return [Coloring(name, np.array(texts)) for name, texts in texts_of.items()]


def _parts(name: str) -> list[str]:
    return [part.strip() for part in name.split(JOINED)]
