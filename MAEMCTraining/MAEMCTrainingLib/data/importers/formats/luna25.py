"""Importer of the LUNA25 challenge's public training data: one CSV with a row a nodule, and volumes named after their
series."""

import math
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from MAEMCLib.cases.case import Case
from MAEMCLib.errors import InputError
from MAEMCLib.files.strict_json import number_of

from ..imported import Imported, Importer, read_table
from ..volume_box import VolumeBox, read_box

COLUMNS = ("PatientID", "SeriesInstanceUID", "CoordX", "CoordY", "CoordZ", "label")
"""What is needed of the published header ``PatientID, SeriesInstanceUID, StudyDate, CoordX, CoordY, CoordZ, LesionID,
AnnotationID, NoduleID, label, Age_at_StudyDate, Gender``. The coordinates are ITK's: LPS mm."""
SUFFIXES = (".mha", ".nii.gz", ".nrrd", ".mhd", ".nii")
LABELS = {"0": 0, "0.0": 0, "1": 1, "1.0": 1}
SEXES = {"m": "male", "male": "male", "f": "female", "female": "female"}


def import_luna25(source: Path, unpacked: Path) -> Imported:
    """A row a nodule, with the label, age and sex of the table; the date of the study is left behind.

    source: the CSV, whose volumes lie beside or below it, or a folder that holds both. Raises InputError: no CSV of
    LUNA25, columns missing, no volumes at all.
    """
    table, folder = _table(source)
    _, records = read_table(table, COLUMNS)
    volumes = _volumes(folder)
    if not volumes:
        raise InputError(
            f"There are no volumes ({', '.join(SUFFIXES)}) in {folder} or below. Put the CSV into the folder that the "
            "volumes were unpacked to, or above it.",
            "missing-file",
        )
    found, box_of = Imported(), lru_cache(read_box)  # a volume's header is read once however many nodules it has
    for line, record in records:
        nodule = record.get("AnnotationID") or record.get("NoduleID") or ""
        with found.skipping(f"row {line}{f' ({nodule})' if nodule else ''} of {table.name}"):
            found.add(_row(record, volumes, box_of))
    return found


IMPORTER = Importer(
    import_luna25, "the LUNA25 challenge's CSV and volumes", source="the CSV, or a folder with it and the volumes"
)


def _table(source: Path) -> tuple[Path, Path]:
    source = source.absolute()
    if source.is_file():
        return source, source.parent
    if not source.is_dir():
        raise InputError(f"There is no file or folder {source}. Check the path.", "missing-file")
    found = []
    for path in sorted(source.rglob("*.csv")):
        try:
            if "SeriesInstanceUID" in read_table(path)[0]:
                found.append(path)
        except InputError:
            continue
    if len(found) != 1:
        what = f"several ({', '.join(path.name for path in found[:5])})" if found else "none"
        raise InputError(
            f"{source} should hold one CSV with LUNA25's columns and holds {what}. Name the CSV itself.", "luna25-table"
        )
    return found[0], source


def _volumes(folder: Path) -> dict[str, list[Path]]:
    volumes: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
        if suffix and path.is_file():
            volumes.setdefault(path.name[: -len(suffix)], []).append(path)
    return volumes


def _row(record: dict[str, str], volumes: dict[str, list[Path]], box_of: Callable[[Path], VolumeBox]) -> Case:
    patient, uid, label = record["PatientID"], record["SeriesInstanceUID"], record["label"]
    if not patient or not uid:
        raise InputError(f"it has no {'PatientID' if not patient else 'SeriesInstanceUID'}", "luna25")
    if label and label not in LABELS:
        raise InputError(f"its label is '{label}', not 0 or 1", "manifest-label")
    point = tuple(number_of(record[name]) for name in ("CoordX", "CoordY", "CoordZ"))
    if not all(math.isfinite(value) for value in point):
        raise InputError("its CoordX, CoordY, CoordZ are not three numbers", "manifest-number")
    found = volumes.get(uid, [])
    if not found:
        raise InputError(f"there is no volume {uid}.mha", "missing-file")
    if len(found) > 1:
        names = ", ".join(os.path.relpath(path, Path(os.path.commonpath(found))) for path in found)
        raise InputError(f"there are several volumes of its series ({names}); keep one", "several-series")
    if not box_of(found[0]).holds(point):
        place = ", ".join(f"{value:.1f}" for value in point)
        raise InputError(f"its point ({place}) lies outside its volume", "outside")
    return Case(
        case_id=record.get("AnnotationID") or f"{uid} {record.get('LesionID') or record['CoordX']}",
        patient_id=patient,
        image=found[0],
        label=LABELS[label] if label else None,
        point_lps=point,
        values={
            "modality": "CT",
            "anatomy": "CHEST",
            "age": record.get("Age_at_StudyDate", ""),
            "sex": SEXES.get(record.get("Gender", "").lower(), ""),
        },
    )
