"""The part that each case of a manifest belongs to: its column ``split`` divides the patients.

Cases of ``train`` train, cases of ``val`` (or ``validation``) choose among what was trained, cases of ``test`` do
neither.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    by_patient: dict[str, str] = {}
    for row in rows:
        if row.split:
            part = _WORDS[row.split.lower()]
            if by_patient.setdefault(row.patient_id, part) != part:
                raise torn([row.patient_id])
    return [by_patient.get(row.patient_id, TRAIN) for row in rows]


def torn(patients: Sequence[str]) -> InputError:
    """The refusal of patients that are in two parts."""
    return InputError(
        f"These patients are in more than one split: {', '.join(patients[:5])}"
        f"{f' and {len(patients) - 5} more' if len(patients) > 5 else ''}. All cases of a patient belong to one, or a "
        "model is tested on patients that it was trained on.",
        "manifest-split",
        patients,
    )
