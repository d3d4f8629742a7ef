"""Importer of LIDC nodule slabs: a folder of the native axial slices that meet each nodule (``images/*.nrrd``), the
readers' masks, and all their ratings (``labels.csv``)."""

from dataclasses import replace
from pathlib import Path

from MAEMCLib.cases.case import Case

from ..imported import Imported, Importer
from .lidc_cubes import row_of, rows_of

COLUMNS = ("file", "patient", "long_axial_mm", "malignancy_median_high", "n_readers", "slice_spacing_mm")
KEPT = ("texture", "spiculation", "lobulation", "margin", "sphericity", "calcification", "malignancy")
"""Ratings of all readers, in one order, that the manifest keeps as columns."""


def import_lidc_slabs(source: Path, unpacked: Path, min_readers: int = 1) -> Imported:
    """A row a nodule, in the order of labels.csv; the point is the centroid of the readers' consensus.

    min_readers: nodules that fewer readers rated are skipped. Raises what ``rows_of`` and ``row_of`` raise.
    """
    folder, records = rows_of(source, COLUMNS, "slabs")
    found = Imported()
    for record in records:
        if int(record["n_readers"]) < min_readers:
            found.skip(record["file"], f"{record['n_readers']} of at least {min_readers} readers rated it")
        else:
            found.add(_row(folder, record))
    return found


IMPORTER = Importer(
    import_lidc_slabs,
    "axial slabs of LIDC-IDRI nodules with all readers' masks and ratings",
    options={
        "--min-readers": {
            "type": int,
            "default": 1,
            "choices": (1, 2, 3, 4),
            "help": "take nodules that so many readers rated",
        }
    },
)


def _row(folder: Path, record: dict[str, str]) -> Case:
    row = row_of(folder, record, "long_axial_mm")
    ratings = {name: record[name] for name in KEPT if record.get(name)}
    facts = {"readers": record["n_readers"], "slice_thickness_mm": record["slice_spacing_mm"]}
    return replace(row, values=row.values | facts | ratings)
