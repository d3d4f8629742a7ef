"""Importer of LIDC nodule cubes: a folder of 51 mm cubes at 1 mm (``images/*.nrrd``) with the readers' ratings
(``labels.csv``)."""

import math
from collections.abc import Sequence
from pathlib import Path

from MAEMCLib.cases.case import Case
from MAEMCLib.errors import InputError
from MAEMCLib.files.strict_json import number_of

from ..imported import Imported, Importer, label_of_median, read_table

COLUMNS = ("file", "patient", "eq_diam_mask_mm", "malignancy_median_high")
CENTER_LPS = (0.0, 0.0, 0.0)
"""The point of every cube: its center, which is LPS (0, 0, 0) by its geometry. The centroid of the reader's mask
lies about 2 mm aside; a 50 mm region about the centroid leaves the 51 mm cube and has to be padded, one about the
center fits."""
RATINGS = ("", "1", "2", "3", "4", "5")
"""Median rating of malignancy by the readers."""


def import_lidc_cubes(source: Path, unpacked: Path) -> Imported:
    """A row a cube, in the order of labels.csv. Raises what ``rows_of`` and ``row_of`` raise."""
    folder, records = rows_of(source, COLUMNS, "cubes")
    found = Imported()
    for record in records:
        found.add(row_of(folder, record, "eq_diam_mask_mm"))
    return found


IMPORTER = Importer(import_lidc_cubes, "51 mm cubes of LIDC-IDRI with the readers' ratings")


def rows_of(source: Path, columns: Sequence[str], what: str) -> tuple[Path, list[dict[str, str]]]:
    """The absolute folder and the rows of its labels.csv. what: the folder's files are called in messages.

    Raises InputError: labels.csv missing or without the columns it needs, an image missing.
    """
    folder = Path(source).absolute()
    table = folder / "labels.csv"
    if not table.is_file():
        raise InputError(f"{folder} is no folder of LIDC {what}: it has no labels.csv.", "missing-file")
    records = [record for _, record in read_table(table, columns)[1]]
    absent = [r["file"] for r in records if not (folder / "images" / r["file"]).is_file()]
    if absent:
        raise InputError(
            f"{folder / 'images'} lacks {len(absent)} {what} of labels.csv, the first {absent[0]}.", "missing-file"
        )
    return folder, records


def row_of(folder: Path, record: dict[str, str], diameter: str) -> Case:
    """A nodule whose point is the origin of its image. diameter: the column of its size, mm.

    A nodule without a patient is one of its own, named after its file. Raises InputError: a rating that is none, a
    diameter that is no number.
    """
    rating = record["malignancy_median_high"]
    if rating not in RATINGS:
        raise InputError(
            f"labels.csv rates {record['file']} '{rating}'; ratings are 1 to 5 or empty.", "manifest-label"
        )
    name, size = Path(record["file"]).stem, record[diameter]
    diameter_mm = number_of(size) if size else None
    if size and not math.isfinite(diameter_mm):
        raise InputError(
            f"labels.csv gives {record['file']} the diameter '{size}', which is no number.", "manifest-number"
        )
    return Case(
        case_id=name,
        patient_id=record["patient"] or name,
        image=folder / "images" / record["file"],
        label=label_of_median(int(rating)) if rating else None,
        diameter_mm=diameter_mm,
        point_lps=CENTER_LPS,
        values={"modality": "CT", "anatomy": "CHEST", "malignancy_median_high": rating},
    )
