"""Importer of folders of 2-D pictures: PNG, JPEG, DICOM ultrasound and radiographs.

Three layouts are understood:

* a table (the folder's one CSV file): a row a picture, with the columns ``file``, and where known ``patient``,
  ``label`` (or ``malignancy_median_high``, a median rating of 1 to 5) and ``nodule``, ``slice``: pictures with a slice
  number are rows of the kind ``slice``. The pictures lie in the folder, below it, or in a tar file beside the table;
* folders named ``benign`` and ``malignant`` (or ``0`` and ``1``), which give the labels; a folder beside them has none;
* any folder: every picture a row without a label.

Without a table, pictures in a folder of their own (below the folder of the class) are one patient's, named after that
folder; a picture that lies directly in the source or in the folder of a class is a patient of its own. DICOM says who
the patient is.
"""

from __future__ import annotations

from pathlib import Path

from MAEMCLib.errors import InputError
from MAEMCLib.manifest import ManifestRow

from .archive import unpack_tar
from .imported import Imported, Skipped, below, imported, label_of_median
from .pictures import NoPictureError, read_picture
from .tables import read_table

CLASSES = {"benign": 0, "malignant": 1, "0": 0, "1": 1}
NO_LABEL = {"", "ambiguous", "indeterminate", "unknown", "normal"}
RATING = "malignancy_median_high"
FILE_COLUMNS, PATIENT_COLUMNS = ("file", "image", "filename"), ("patient", "patient_id")
CARRIED = ("age", "sex", "modality", "anatomy", RATING)


def import_images(source: Path, unpacked: Path) -> Imported:
    """A row a picture, kind ``image`` or ``slice``; a picture that cannot be read is skipped.

    unpacked: where pictures of a tar file are put. Raises InputError: no such folder, no pictures, a table without a
    column of files, several tables.
    """
    if not source.is_dir():
        raise InputError(f"There is no folder {source}. Check the path.", "missing-file")
    folder = source.absolute()
    tables = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".csv" and path.is_file())
    tables = [path for path in tables if "case_id" not in read_table(path)[0]]  # a manifest is what an import writes
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables[:5])
        raise InputError(f"{folder} holds several tables ({names}). Leave the one that lists the pictures.", "tables")
    return _from_table(tables[0], unpacked) if tables else _from_folders(folder)


def _from_table(table: Path, unpacked: Path) -> Imported:
    columns, records = read_table(table)
    file_column = next((name for name in FILE_COLUMNS if name in columns), None)
    if file_column is None:
        raise InputError(
            f"{table} has no column with the pictures' names: file, image or filename. It has {', '.join(columns)}.",
            "manifest-columns",
        )
    folder = table.parent
    rows, skipped = [], []
    files = _files(folder, {record[file_column] for _, record in records}, unpacked)
    for line, record in records:
        name = record[file_column]
        try:
            if name not in files:
                raise NoPictureError("there is no such file in the folder or a tar file in it")
            rows.append(_table_row(record, name, files[name]))
        except NoPictureError as error:
            skipped.append(Skipped(f"row {line} of {table.name} ({name or 'no file named'})", str(error)))
    listed = set(files.values())
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path not in listed and path.suffix.lower() in (".png", ".jpg", ".jpeg", ".dcm"):
            skipped.append(Skipped(below(path, folder), f"not listed in {table.name}"))
    return imported(rows, skipped)


def _files(folder: Path, names: set[str], unpacked: Path) -> dict[str, Path]:
    """Where the pictures of a table lie; those that are not there are looked for in the folder's tar files."""
    files = {}
    for name in names - {""}:
        path = (folder / name).absolute()
        if ".." not in Path(name).parts and path.is_relative_to(folder) and path.is_file():
            files[name] = path
    for archive in sorted(folder.glob("*.tar")):
        lacking = {name for name in names - files.keys() - {""} if "/" not in name and "\\" not in name}
        if lacking:
            files |= unpack_tar(archive, lacking, unpacked)
    return files


def _table_row(record: dict[str, str], name: str, path: Path) -> ManifestRow:
    patient = next((record[column] for column in PATIENT_COLUMNS if record.get(column)), None)
    picture = read_picture(path)
    patient = patient or picture.patient or name
    slice_index = record.get("slice", "")
    extra = {"modality": picture.modality, "anatomy": picture.anatomy}
    extra |= {column: record[column] for column in CARRIED if record.get(column)}
    if slice_index:
        if not slice_index.lstrip("-").isdecimal():
            raise NoPictureError(f"its slice is '{slice_index}', not a whole number")
        # The number of a nodule counts within a patient.
        extra |= {"volume_id": f"{patient} {record.get('nodule', '')}".strip(), "slice_index": slice_index}
    if record.get(RATING):  # what radiologists rate from 1 to 5 is nodules in chest CT
        extra = {**extra, "modality": extra["modality"] or "CT", "anatomy": extra["anatomy"] or "CHEST"}
    return ManifestRow(
        case_id=name,
        patient_id=patient,
        image=path,
        kind="slice" if slice_index else "image",
        label=_table_label(record),
        extra={**extra, **picture.size},
    )


def _table_label(record: dict[str, str]) -> int | None:
    rating = record.get(RATING, "")
    if rating:
        try:
            value = float(rating)
        except ValueError:
            value = 0.0
        if not 1.0 <= value <= 5.0:
            raise NoPictureError(f"its {RATING} is '{rating}', not a rating from 1 to 5")
        return label_of_median(value)
    label = record.get("label", "").lower()
    if label not in CLASSES and label not in NO_LABEL:
        raise NoPictureError(f"its label is '{record['label']}', not benign, malignant, 0, 1 or empty")
    return CLASSES.get(label)


def _from_folders(folder: Path) -> Imported:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    levels = [level for path in paths for level, part in enumerate(_folders(path, folder)) if part.lower() in CLASSES]
    level = min(levels, default=None)
    names = {path.with_suffix("") for path in paths}
    rows, skipped = [], []
    for path in paths:
        name = below(path, folder)
        try:
            if (of := _masked(path)) is not None and of in names:
                raise NoPictureError(f"a mask of {of.name}, by its name")
            rows.append(_folder_row(path, folder, level))
        except NoPictureError as error:
            skipped.append(Skipped(name, str(error)))
    if not rows and not skipped:
        raise InputError(f"{folder} holds no files.", "no-images")
    return imported(rows, skipped)


def _folder_row(path: Path, folder: Path, level: int | None) -> ManifestRow:
    parts = _folders(path, folder)
    label, first = None, 0
    if level is not None and len(parts) > level:
        label, first = CLASSES.get(parts[level].lower()), level + 1
    picture = read_picture(path)
    own = below(path, folder)
    patient = picture.patient or (parts[-1] if len(parts) > first else own)
    extra = {"modality": picture.modality, "anatomy": picture.anatomy, **picture.size}
    return ManifestRow(own, patient, path, "image", label, extra=extra)


def _folders(path: Path, folder: Path) -> tuple[str, ...]:
    return path.relative_to(folder).parent.parts


def _masked(path: Path) -> Path | None:
    """The picture that a file is a mask of by its name (``case_mask.png``, ``case_mask_1.png``), without suffix."""
    stem, mark, number = path.stem.rpartition("_mask")
    return path.with_name(stem) if mark and stem and number.lstrip("_").isdecimal() | (number == "") else None
