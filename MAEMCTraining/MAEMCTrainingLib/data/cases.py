"""A case on its way into a cache, and in it; and the part of the data that it belongs to.

A manifest's column ``split`` divides the patients: cases of ``train`` train, cases of ``val`` (or ``validation``)
choose among what was trained, cases of ``test`` do neither. Rows are counted as in a spreadsheet: the header is row 1.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import read_manifest, write_manifest
from MAEMCLib.cases.pseudonyms import pseudonym
from MAEMCLib.errors import InputError, UsageError

from ..engine.rng import generator

TRAIN, VALIDATION, TEST = "train", "validation", "test"
_WORDS = {"train": TRAIN, "val": VALIDATION, "validation": VALIDATION, "test": TEST}
FIRST_ROW = 2
"""Of a manifest, counted as in a spreadsheet: the header is row 1."""


def parts_of(rows: Sequence[Case]) -> list[str | None]:
    """The part of each row; None for all where no row names one.

    A row without a word belongs where its patient's other rows do, otherwise to what is trained on. Raises InputError:
    a word that is none of the three, a patient in two parts.
    """
    unknown = sorted({row.split for row in rows if row.split and row.split.lower() not in _WORDS})
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise InputError(
            f"The manifest's column split says {', '.join(unknown[:5])}{more}. The words are train, val (or "
            "validation) and test; leave it empty where there is no split.",
            "split-word",
            unknown,
        )
    if not any(row.split for row in rows):
        return [None] * len(rows)
    by_patient = part_of_patient((row.patient_id, _WORDS[row.split.lower()]) for row in rows if row.split)
    return [by_patient.get(row.patient_id, TRAIN) for row in rows]


def part_of_patient(cases: Iterable[tuple[str, str]]) -> dict[str, str]:
    """{patient: part} from the patient and the part of each case. Raises InputError for a patient in two parts."""
    parts: dict[str, set[str]] = {}
    for patient, part in cases:
        parts.setdefault(patient, set()).add(part)
    torn = [patient for patient, of_patient in parts.items() if len(of_patient) > 1]
    if torn:
        raise InputError(
            f"These patients are in more than one split: {', '.join(torn[:5])}"
            f"{f' and {len(torn) - 5} more' if len(torn) > 5 else ''}. All cases of a patient belong to one, or a "
            "model is tested on patients that it was trained on.",
            "manifest-split",
            torn,
        )
    return {patient: of_patient.pop() for patient, of_patient in parts.items()}


def split_patients(paths: Sequence[Path], output: Path, share: float) -> tuple[list[Path], list[Path]]:
    """Write ``pretraining.csv`` with a share of all patients and ``evaluation.csv`` with the others to ``output``.

    The same patients each time. Where the manifests have a split, patients for pre-training are drawn from those that
    train, and both parts keep the column. Returns both paths, each in a list. Raises UsageError: a share that leaves
    either part without patients; InputError: what reading and writing manifests raise.
    """
    manifests = [read_manifest(path).rows for path in paths]
    rows = [row for found in manifests for row in found]
    parts = [part for found in manifests for part in parts_of(found)]
    # In order of appearance: a split by names would hang on the pseudonyms' key.
    patients = list(
        dict.fromkeys(row.patient_id for row, part in zip(rows, parts, strict=True) if part in (None, TRAIN))
    )
    count = round(share * len(patients))
    if not 0 < count < len(patients):
        raise UsageError(f"--pretraining-share {share} of {len(patients)} patients leaves a part without any.", "share")
    chosen = {patients[i] for i in generator(0, "pretraining-patients").permutation(len(patients))[:count]}
    rows = [replace(row, split=part) for row, part in zip(rows, parts, strict=True)]
    written = [
        write_manifest(output / f"{name}.csv", [row for row in rows if (row.patient_id in chosen) == wanted])
        for name, wanted in (("pretraining", True), ("evaluation", False))
    ]
    return [written[0]], [written[1]]


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

    def facts(self, key: bytes) -> dict[str, Any]:
        """The fields of a ``StoredCase`` that the manifest decides. key: of pseudonyms, where no importer has made them
        of the names already."""
        row = self.row
        made_with = row.values.get("pseudonym_key") or None
        return {
            "case_id": pseudonym("C", self.case_id, key, made_with),
            "patient": pseudonym("P", row.patient_id, key, made_with),
            "row": self.number,
            "part": self.part,
            "label": row.label,
            "diameter_mm": row.diameter_mm,
            "values": {**row.values, "case_id": self.case_id},
        }


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
