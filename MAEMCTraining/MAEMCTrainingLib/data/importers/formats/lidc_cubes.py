"""Importer of LIDC nodule cubes: a folder of 51 mm cubes at 1 mm (``images/*.nrrd``) with the readers' ratings
(``labels.csv``)."""

import math
from pathlib import Path

from MAEMCLib.cases.case import Case
from MAEMCLib.errors import InputError
from MAEMCLib.files.strict_json import number_of

from ..imported import Imported, Importer, label_of_median, read_table

COLUMNS = ("file", "patient", "eq_diam_mask_mm", "malignancy_median_high")
CUBE_CENTER_LPS = (0.0, 0.0, 0.0)
"""The point of every cube: its center, which is LPS (0, 0, 0) by the cubes' geometry. The centroid of the reader's mask
lies about 2 mm aside; a 50 mm region about the centroid leaves the 51 mm cube and has to be padded, one about the
center fits."""
RATINGS = ("", "1", "2", "3", "4", "5")
"""Median rating of malignancy by the readers."""


def import_lidc_cubes(source: Path, unpacked: Path) -> Imported:
    """A row a cube, in the order of labels.csv.

    A cube without a patient number is a patient of its own, named after its file. Raises InputError: labels.csv missing
    or without the columns it needs, a rating that is none, an image missing.
    """
    folder = Path(source).absolute()
    table = folder / "labels.csv"
    if not table.is_file():
        raise InputError(f"{folder} is no folder of LIDC cubes: it has no labels.csv.", "missing-file")
    _, records = read_table(table, COLUMNS)
    absent = [record["file"] for _, record in records if not (folder / "images" / record["file"]).is_file()]
    if absent:
        raise InputError(
            f"{folder / 'images'} lacks {len(absent)} cubes of labels.csv, the first {absent[0]}.", "missing-file"
        )
    found = Imported()
    for _, record in records:
        found.add(_row(folder, record))
    return found


IMPORTER = Importer(import_lidc_cubes, "51 mm cubes of LIDC-IDRI with the readers' ratings")


def _row(folder: Path, record: dict[str, str]) -> Case:
    rating = record["malignancy_median_high"]
    if rating not in RATINGS:
        raise InputError(
            f"labels.csv rates {record['file']} '{rating}'; ratings are 1 to 5 or empty.", "manifest-label"
        )
    name, diameter = Path(record["file"]).stem, record["eq_diam_mask_mm"]
    diameter_mm = number_of(diameter) if diameter else None
    if diameter and not math.isfinite(diameter_mm):
        raise InputError(
            f"labels.csv gives {record['file']} the diameter '{diameter}', which is no number.", "manifest-number"
        )
    return Case(
        case_id=name,
        patient_id=record["patient"] or name,
        image=folder / "images" / record["file"],
        label=label_of_median(int(rating)) if rating else None,
        diameter_mm=diameter_mm,
        point_lps=CUBE_CENTER_LPS,
        values={"modality": "CT", "anatomy": "CHEST", "malignancy_median_high": rating},
    )
