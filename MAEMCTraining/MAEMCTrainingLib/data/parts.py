"""The part that each case of a manifest belongs to: its column ``split`` divides the patients.

Cases of ``train`` train, cases of ``val`` (or ``validation``) choose among what was trained, cases of ``test`` do
neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from MAEMCLib.cases.case import Case
from MAEMCLib.errors import InputError

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
