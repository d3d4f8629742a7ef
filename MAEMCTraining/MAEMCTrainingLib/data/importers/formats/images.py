"""Importer of folders of 2-D pictures: PNG, JPEG, DICOM ultrasound and radiographs.

Three layouts are understood:

* a table (the folder's one CSV file): a row a picture, with the columns ``file``, and where known ``patient``,
  ``label`` (or ``malignancy_median_high``, a median rating of 1 to 5) and ``nodule``, ``slice``: pictures with a slice
  number are rows of the kind ``slice``. The pictures lie in the folder, below it, or in a tar file beside the table;
* folders that are classes (``class_folders``): they give the column ``class`` and, where it is known which of two is
  the negative one, the labels; a folder beside them has none;
* any folder: every picture a row without a label.

Without a table, pictures in a folder of their own (below the folder of the class) are one patient's, named after that
folder; a picture that lies directly in the source or in the folder of a class is a patient of its own. DICOM says who
the patient is. A picture whose name ends in ``_mask`` is no case; it becomes the column ``mask`` of the one it is of.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from MAEMCLib.cases.case import Case
from MAEMCLib.errors import InputError
from MAEMCLib.files.strict_json import number_of
from MAEMCLib.images.ct import PICTURE_SUFFIXES

from ..archive import unpack_tar
from ..class_folders import KNOWN, ClassFolders, find_class_folders
from ..imported import Imported, Importer, below, existing_folder, label_of_median, read_table
from ..pictures import is_picture, read_picture

NO_LABEL = {"", "ambiguous", "indeterminate", "unknown", "normal"}
RATING = "malignancy_median_high"
FILE_COLUMNS, PATIENT_COLUMNS = ("file", "image", "filename"), ("patient", "patient_id")
CARRIED = ("age", "sex", "modality", "anatomy", RATING)


MANY_PICTURES = 100
"""No patient has as many single pictures; a folder of more is said to be one."""


def import_images(source: Path, unpacked: Path, classes: Sequence[str] = ()) -> Imported:
    """A row a picture, kind ``image`` or ``slice``; a picture that cannot be read is skipped.

    unpacked: where pictures of a tar file are put. classes: names of the folders that are classes, the negative one
    first; none: found by the layout. Raises InputError: no such folder, no pictures, a table without a column of files,
    several tables, classes that are no folders.
    """
    folder = existing_folder(source)
    tables = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".csv" and path.is_file())
    tables = [path for path in tables if "case_id" not in read_table(path)[0]]  # a manifest is what an import writes
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables[:5])
        raise InputError(f"{folder} holds several tables ({names}). Leave the one that lists the pictures.", "tables")
    if tables and classes:
        raise InputError(f"{tables[0].name} says what each picture is; --classes is for folders.", "classes")
    return _from_table(tables[0], unpacked) if tables else _from_folders(folder, classes)


IMPORTER = Importer(
    import_images,
    "2-D pictures: PNG, JPEG, DICOM ultrasound and radiographs",
    options={
        "--classes": {
            "metavar": "NEGATIVE,POSITIVE",
            "type": lambda text: [name.strip() for name in text.split(",") if name.strip()],
            "default": [],
            "help": "the folders that are classes; of two the second is label 1",
        }
    },
)


def _from_table(table: Path, unpacked: Path) -> Imported:
    columns, records = read_table(table)
    file_column = next((name for name in FILE_COLUMNS if name in columns), None)
    if file_column is None:
        raise InputError(
            f"{table} has no column with the pictures' names: file, image or filename. It has {', '.join(columns)}.",
            "manifest-columns",
        )
    folder = table.parent
    found = Imported()
    files = _files(folder, {record[file_column] for _, record in records}, unpacked)
    for line, record in records:
        name = record[file_column]
        with found.skipping(f"row {line} of {table.name} ({name or 'no file named'})"):
            if name not in files:
                raise InputError("there is no such file in the folder or a tar file in it", "missing-file")
            found.add(_table_row(record, name, files[name]))
    listed = set(files.values())
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path not in listed and path.suffix.lower() in PICTURE_SUFFIXES:
            found.skip(below(path, folder), f"not listed in {table.name}")
    return found


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


def _table_row(record: dict[str, str], name: str, path: Path) -> Case:
    columns, patient = read_picture(path)
    patient = next((record[column] for column in PATIENT_COLUMNS if record.get(column)), patient or name)
    slice_index = record.get("slice", "")
    values = columns | {column: record[column] for column in CARRIED if record.get(column)}
    if slice_index:
        if not slice_index.lstrip("-").isdecimal():
            raise InputError(f"its slice is '{slice_index}', not a whole number", "manifest-number")
        # The number of a nodule counts within a patient.
        values |= {"volume_id": f"{patient} {record.get('nodule', '')}".strip(), "slice_index": slice_index}
    if record.get(RATING):  # what radiologists rate from 1 to 5 is nodules in chest CT
        values |= {"modality": values["modality"] or "CT", "anatomy": values["anatomy"] or "CHEST"}
    return Case(name, patient, path, "slice" if slice_index else "image", _table_label(record), values=values)


def _table_label(record: dict[str, str]) -> int | None:
    rating = record.get(RATING, "")
    if rating:
        value = number_of(rating)
        if not 1.0 <= value <= 5.0:
            raise InputError(f"its {RATING} is '{rating}', not a rating from 1 to 5", "manifest-label")
        return label_of_median(value)
    label = record.get("label", "").lower()
    if label not in KNOWN and label not in NO_LABEL:
        raise InputError(f"its label is '{record['label']}', not benign, malignant, 0, 1 or empty", "manifest-label")
    return KNOWN.get(label)


def _from_folders(folder: Path, classes: Sequence[str]) -> Imported:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    if not paths:
        raise InputError(f"{folder} holds no files.", "no-images")
    names = {path.with_suffix("") for path in paths}
    masks: dict[Path, list[Path]] = {}
    for path in paths:
        if (of := _masked(path)) in names:
            masks.setdefault(of, []).append(path)
    taken = set(chain.from_iterable(masks.values()))
    pictures = [path for path in paths if path not in taken]
    class_folders = find_class_folders([_folders(path, folder) for path in pictures if is_picture(path)], classes)
    found = Imported(remarks=list(class_folders.remarks))
    for path in pictures:
        with found.skipping(below(path, folder)):
            own_masks = masks.get(path.with_suffix(""), [])
            found.add(_folder_row(path, folder, class_folders, own_masks))
            taken -= set(own_masks)
    for path in sorted(taken):
        found.skip(below(path, folder), "a mask of a picture that is not used")
    counts = Counter(row.patient_id for row in found.rows)
    found.remarks += [
        f"{count} pictures lie in one folder and were taken for one patient's. If that folder is a class, name all "
        "classes: --classes NEGATIVE,POSITIVE."
        for count in counts.values()
        if count > MANY_PICTURES
    ]
    return found


def _folder_row(path: Path, folder: Path, classes: ClassFolders, masks: Sequence[Path]) -> Case:
    parts = _folders(path, folder)
    name, below_class = classes.of(parts)
    values, patient = read_picture(path)
    own = below(path, folder)
    patient = patient or (below_class[-1] if below_class else own)
    if classes.level is not None:
        values["class"] = name
    if masks:
        values["mask"] = ";".join(map(str, masks))
    return Case(own, patient, path, "image", classes.label(name), values=values)


def _folders(path: Path, folder: Path) -> tuple[str, ...]:
    return path.relative_to(folder).parent.parts


def _masked(path: Path) -> Path | None:
    """The picture that a file is a mask of by its name (``case_mask.png``, ``case_mask_1.png``), without suffix."""
    stem, mark, number = path.stem.rpartition("_mask")
    return path.with_name(stem) if mark and stem and number.lstrip("_").isdecimal() | (number == "") else None
