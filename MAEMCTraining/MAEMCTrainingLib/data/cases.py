"""A case on its way into a cache, and in it. Rows are counted as in a spreadsheet: the manifest's header is row 1."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from MAEMCLib.cases.case import Case
from MAEMCLib.cases.pseudonyms import pseudonym

from .parts import FIRST_ROW, parts_of


@dataclass(frozen=True)
class SourceCase:
    """A case to cut: its rows of a manifest (several where a case has several pictures), where they stand, its part."""

    rows: tuple[Case, ...]
    numbers: tuple[int, ...]
    part: str | None = None

    @property
    def number(self) -> int:
        """Of the first of its rows in the manifest."""
        return min(self.numbers)

    @property
    def row(self) -> Case:
        """The first of its rows in the manifest, which says what holds for the whole case."""
        return self.rows[self.numbers.index(self.number)]

    @property
    def case_id(self) -> str:
        """As the manifest has it."""
        return self.row.case_id

    def pseudonym(self, key: bytes) -> str:
        """Of the case."""
        return pseudonym("C", self.case_id, key, self._made_with)

    def patient(self, key: bytes) -> str:
        """The patient's pseudonym."""
        return pseudonym("P", self.row.patient_id, key, self._made_with)

    @property
    def _made_with(self) -> str | None:
        """The name of the key of an importer that has made pseudonyms of the names already."""
        return self.row.values.get("pseudonym_key") or None


def single_cases(rows: Sequence[Case]) -> list[SourceCase]:
    """Each row is a case of its own. Raises what ``parts_of`` raises."""
    return [
        SourceCase((row,), (number,), part)
        for number, (row, part) in enumerate(zip(rows, parts_of(rows), strict=True), FIRST_ROW)
    ]


@dataclass(frozen=True)
class StoredCase:
    """An entry of a cache's index.

    case_id, patient: pseudonyms. row: of the manifest, the first of the case. part: of ``parts_of``. values: the
    further columns of its row; in full, and with its own case_id, where the manifest has just been read, otherwise what
    ``kept_values`` keeps of them. sha256: of what was cut. file_sha256: of the file. source: hash of all that it was
    cut from; empty where some of it could not be read. facts: of the kind's ``Facts``.
    """

    case_id: str
    patient: str
    row: int
    part: str | None
    label: int | None
    diameter_mm: float | None
    file: str
    sha256: str
    file_sha256: str
    source: str
    facts: Any
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """How a message names the case."""
        return f"{self.case_id} (row {self.row} of its manifest)"
