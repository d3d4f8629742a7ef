"""The manifest: which nodules there are, in which images, of which patients, with which labels. A CSV file with a
header.

``case_id, patient_id, image`` are always there. ``kind`` says what a row is: ``nodule`` (the default; a point
``l_mm, p_mm, s_mm`` in a CT), ``slice`` (``volume_id, slice_index`` of a stack of 2-D pictures, ordered towards S) or
``image`` (a 2-D picture). ``label``, ``split`` and ``diameter_mm`` may be empty; columns beyond these are kept as they
are. Images are files or DICOM folders, named relative to the manifest.
"""

import csv
import io
import itertools
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import InputError, input_error
from ..files.atomic import make_folder, replacing
from ..files.regular_file import open_regular
from ..files.spreadsheet import RowWriter, read_table
from ..files.strict_json import number_of
from .case import Case
from .points import POINT

REQUIRED = ("case_id", "patient_id", "image")
NUMBERS = (*POINT, "diameter_mm")
REQUIRED_BY_KIND = {"nodule": POINT, "slice": ("volume_id", "slice_index"), "image": ()}
OPTIONAL = ("kind", "label", "split", "diameter_mm")
LABELS = {"0": 0, "1": 1, "benign": 0, "malignant": 1, "benign-like": 0, "malignant-like": 1}
NAMED_AT_MOST = 5
SAVE_AS_CSV = "Save it as CSV in UTF-8."
Record = dict[str | None, str]


@dataclass(frozen=True)
class Manifest:
    """The rows of a manifest, in its order, and where it lies."""

    path: Path
    rows: tuple[Case, ...]

    def counts(self) -> dict[str, int]:
        """Cases, patients, and how many cases are benign, malignant and without a label."""
        labels = Counter(row.label for row in self.rows)
        return {
            "cases": len(self.rows),
            "patients": len({row.patient_id for row in self.rows}),
            "benign": labels[0],
            "malignant": labels[1],
            "unlabeled": labels[None],
        }


def read_manifest(path: str | Path, lenient: bool = False) -> Manifest:
    """Read and check a manifest; every image must exist.

    lenient: a row at fault is kept with its ``problem``, so that one bad case does not stop a batch of scoring. What
    concerns the file as a whole is refused all the same.

    Raises InputError naming the rows (counted as in a spreadsheet: the header is row 1) or columns at fault: no file,
    no cases, missing columns, a case_id twice, images that are not there, a patient in two splits, labels that are
    neither 0 or 1 nor a class's name, coordinates or diameters that are no numbers.
    """
    path = Path(path).absolute()
    columns, records = _read_records(path)
    for line, record in records:
        if isinstance(record, csv.Error):
            raise InputError(
                f"Row {line} of the manifest {path} cannot be read ({record}). {SAVE_AS_CSV}", "unreadable"
            )
    kinds = {_text_in(record, "kind") or "nodule" for _, record in records}
    unknown = sorted(kinds - set(REQUIRED_BY_KIND))
    if unknown:
        raise InputError(
            f"The manifest {path} has rows of the kind {_some(unknown)}; known are {', '.join(REQUIRED_BY_KIND)}.",
            "manifest-kind",
        )
    needed = (name for kind, names in REQUIRED_BY_KIND.items() if kind in kinds for name in names)
    _check_columns(path, columns, [*REQUIRED, *needed])
    rows = tuple((_lenient_row if lenient else _row_of)(path, line, record) for line, record in records)
    _check_rows(path, rows, images=not lenient)
    return Manifest(path, rows)


def read_scoring_manifest(path: str | Path) -> Manifest:
    """Read a manifest whose rows are to be scored: what a radiology table looks like, and no row in the way of another.
    A row at fault is kept with its ``problem``, and each has its ``nodule_id``.

    ``case_id, image`` and, of nodules in a CT, ``l_mm, p_mm, s_mm`` are needed. ``nodule_id`` tells the nodules of a
    case apart; where it is empty they are N1, N2 ... (pictures P1, P2 ...) in the order of the manifest. ``series``
    (UID, or UID#2) chooses among the series of a DICOM folder; ``diameter_mm`` and the values that the model asks for
    may be given. Everything else is ignored, the patient and the label included.

    Raises InputError for what concerns the file as a whole: no file, no text, no rows, a column missing or twice.
    """
    path = Path(path).absolute()
    columns, records = _read_records(path)
    sound = [record for _, record in records if not isinstance(record, csv.Error)]
    nodules = bool(sound) and all(_text_in(record, "kind") in ("", "nodule") for record in sound)
    _check_columns(path, columns, ["case_id", "image", *(POINT if nodules else ())])
    rows = [_scoring_row(path, line, record) for line, record in records]
    return Manifest(path, tuple(_told_apart(rows, [line for line, _ in records])))


def _read_records(path: Path) -> tuple[list[str], list[tuple[int, Record | csv.Error]]]:
    """The columns, and for each row that is not empty its number and its values by column (None: those beyond the
    columns), or what is wrong with its quotes. Between values semicolons and tabs are taken too, with commas in the
    numbers. Raises InputError: no file, no text, no header, no rows."""
    try:
        with io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", newline="") as stream:
            columns, rows = read_table(stream, NUMBERS)
    except FileNotFoundError as error:
        raise InputError(f"There is no manifest {path}. Check the path.", "missing-file") from error
    except OSError as error:
        raise input_error(error, f"The manifest {path} cannot be read") from error
    except (UnicodeDecodeError, csv.Error) as error:
        reason = error if isinstance(error, csv.Error) else "it is no text in UTF-8"
        raise InputError(
            f"The manifest {path} cannot be read as CSV text ({reason}). {SAVE_AS_CSV}", "unreadable"
        ) from error
    if not columns:
        raise InputError(
            f"The manifest {path} is empty. It needs a header with {', '.join(REQUIRED)} and a row a case.",
            "manifest-empty",
        )
    if not rows:
        raise InputError(f"The manifest {path} has a header and no cases. Add a row for each case.", "manifest-empty")
    for number, (line, values) in enumerate(rows):
        if not isinstance(values, csv.Error):
            more = {None: "more"} if len(values) > len(columns) else {}
            rows[number] = line, dict.fromkeys(columns, "") | dict(zip(columns, values, strict=False)) | more
    return columns, rows


def write_manifest(path: str | Path, rows: Iterable[Case]) -> Path:
    """Write a manifest, replacing an older one at once or not at all; returns its path.

    Images inside the manifest's folder are named relative to it, others by their absolute path. Raises InputError where
    the rows could not be read back (no rows, a case_id twice, a patient in two splits, a nodule without a point) or the
    folder cannot be written.
    """
    path = Path(path).absolute()
    rows = tuple(rows)
    if not rows:
        raise InputError(f"There are no cases to write to the manifest {path}.", "manifest-empty")
    _check_rows(path, rows, images=False)
    pointless = [row.case_id for row in rows if row.kind == "nodule" and row.point_lps is None]
    if pointless:
        raise InputError(
            f"These nodules have no point: {_some(pointless)}. Each needs l_mm, p_mm, s_mm.", "manifest-point"
        )
    extra = list(dict.fromkeys(name for row in rows for name in row.values))
    columns = [*REQUIRED, *OPTIONAL, *POINT, *extra]
    make_folder(path.parent)
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        writer = RowWriter(stream)
        writer.row(columns)
        for row in rows:
            record = manifest_record(path, row)
            writer.row(record.get(name, "") for name in columns)
    return path


def manifest_record(path: Path, row: Case) -> dict[str, str]:
    """A row as the manifest at ``path`` (absolute) holds it: the text of each column."""
    record = {
        "case_id": row.case_id,
        "patient_id": row.patient_id,
        "image": _from_manifest(path, row.image),
        "kind": row.kind,
        "label": "" if row.label is None else str(row.label),
        "split": row.split or "",
        "diameter_mm": "" if row.diameter_mm is None else f"{row.diameter_mm:.2f}",
        **row.values,
    }
    if row.values.get("mask"):
        record["mask"] = ";".join(_from_manifest(path, path.parent / name) for name in row.values["mask"].split(";"))
    if row.point_lps is not None:
        record |= {name: f"{value:.4f}" for name, value in zip(POINT, row.point_lps, strict=True)}
    return record


def _from_manifest(path: Path, file: Path) -> str:
    """A file as the manifest names it: relative where it lies in the manifest's folder."""
    file = Path(os.path.abspath(file))
    return file.relative_to(path.parent).as_posix() if file.is_relative_to(path.parent) else str(file)


def _check_columns(path: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    """Raise InputError for a column given twice, or one that is missing."""
    twice = [name for name, count in Counter(columns).items() if count > 1 and name]
    if twice:
        raise InputError(f"The manifest {path} has the column {_some(twice)} twice. Keep one.", "manifest-columns")
    missing = [name for name in needed if name not in columns]
    if missing:
        raise InputError(
            f"The manifest {path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; it has "
            f"{', '.join(columns)}. Columns are separated by commas.",
            "manifest-columns",
        )


def _lenient_row(path: Path, line: int, record: Record, scoring: bool = False) -> Case:
    """As ``_row_of``; a row at fault has its ``problem``."""
    try:
        return _row_of(path, line, record, scoring)
    except InputError as error:
        name = _text_in(record, "case_id") or f"row {line}"
        patient = "" if scoring else _text_in(record, "patient_id")
        return Case(name, patient, path.parent / _text_in(record, "image"), problem=error.anonymous)


def _row_of(path: Path, line: int, record: Record, scoring: bool = False) -> Case:
    """One row, checked. scoring: it needs no patient, and label and split are not looked at. Raises InputError."""
    where = f"Row {line} of the manifest"
    if None in record:
        raise InputError(
            f"{where} has more values than the header has columns. Quote values that hold commas.", "manifest-row"
        )
    required = [name for name in REQUIRED if not scoring or name != "patient_id"]
    if empty := [name for name in required if not _text_in(record, name)]:
        raise InputError(f"{where} has no {' and no '.join(empty)}.", "manifest-row")
    kind = _text_in(record, "kind") or "nodule"
    if kind not in REQUIRED_BY_KIND:
        known = ", ".join(REQUIRED_BY_KIND)
        raise InputError(f"{where} is of the kind {kind}; known are {known}.", "manifest-kind", [kind])
    label = "" if scoring else _text_in(record, "label").lower()
    if label and label not in LABELS:
        raise InputError(
            f"{where} has the label '{label}'. A label is 0 or benign, 1 or malignant, or empty for unknown.",
            "manifest-label",
            [label],
        )
    point = None
    if kind == "nodule":
        point = tuple(_number(record, name, where) for name in POINT)
    elif empty := [name for name in REQUIRED_BY_KIND[kind] if not scoring and not _text_in(record, name)]:
        raise InputError(f"{where} is of the kind {kind} and has no {' and no '.join(empty)}.", "manifest-row")
    diameter = None
    if _text_in(record, "diameter_mm"):
        diameter = _number(record, "diameter_mm", where)
        if diameter <= 0.0:
            raise InputError(
                f"{where} has a diameter_mm of {diameter:g}; leave it empty where unknown.", "manifest-number"
            )
    named = {*REQUIRED, *OPTIONAL, *POINT}
    return Case(
        case_id=_text_in(record, "case_id"),
        patient_id=_text_in(record, "patient_id"),
        image=Path(os.path.abspath(path.parent / _text_in(record, "image"))),
        kind=kind,
        label=LABELS[label] if label else None,
        split=_text_in(record, "split") or None,
        diameter_mm=diameter,
        point_lps=point,
        values={name: _text_in(record, name) for name in record if name and name not in named},
    )


def _scoring_row(path: Path, line: int, record: Record | csv.Error) -> Case:
    if isinstance(record, csv.Error):
        text = f"Row {line} of the manifest cannot be read as CSV ({record}). Rows after it may be a part of it."
        return Case(f"row {line}", "", path.parent, problem=text)
    return replace(_lenient_row(path, line, record, scoring=True), nodule_id=_text_in(record, "nodule_id"))


def _told_apart(rows: Sequence[Case], lines: Sequence[int]) -> Iterator[Case]:
    """The rows with a nodule_id each; one that repeats the case_id and nodule_id of an earlier row has a problem."""
    given = {(row.case_id, row.nodule_id) for row in rows}
    counts = defaultdict(lambda: itertools.count(1))
    first: dict[tuple[str, str], int] = {}
    for row, line in zip(rows, lines, strict=True):
        if not row.nodule_id:
            letter = "N" if row.kind == "nodule" else "P"
            names = (f"{letter}{number}" for number in counts[row.case_id])
            row = replace(row, nodule_id=next(name for name in names if (row.case_id, name) not in given))
        earlier = first.setdefault((row.case_id, row.nodule_id), line)
        if earlier != line and not row.problem:
            text = f"Row {line} of the manifest has the case_id and nodule_id of row {earlier}. Give it its own."
            row = replace(row, problem=text)
        yield row


def _check_rows(path: Path, rows: Sequence[Case], images: bool = True) -> None:
    twice = [name for name, count in Counter(row.case_id for row in rows).items() if count > 1]
    if twice:
        raise InputError(f"The manifest {path} has these case_ids more than once: {_some(twice)}.", "manifest-twice")
    splits: dict[str, set[str]] = {}
    for row in rows:
        if row.split:
            splits.setdefault(row.patient_id, set()).add(row.split)
    torn = [f"{patient} ({', '.join(sorted(names))})" for patient, names in splits.items() if len(names) > 1]
    if torn:
        raise InputError(
            f"The manifest {path} has patients in more than one split: {_some(torn)}. "
            "All cases of a patient belong to one, or a model is tested on patients that it was trained on.",
            "manifest-split",
        )
    if images:
        # Named by their cases: paths may hold names of patients, and a training job keeps its last message.
        there = {image: os.path.exists(image) for image in {row.image for row in rows}}
        absent = [row.case_id for row in rows if not there[row.image]]
        if absent:
            raise InputError(
                f"The manifest {path} names images that are not there: those of the cases {_some(absent)}. "
                "Paths in the column image are relative to the manifest.",
                "missing-file",
            )


def _text_in(record: Record, name: str) -> str:
    """A value without the blanks about it; empty where the column is missing."""
    return (record.get(name) or "").strip()


def _number(record: Record, name: str, where: str) -> float:
    value = number_of(_text_in(record, name))
    if not math.isfinite(value):
        raise InputError(f"{where} has no number in the column {name}.", "manifest-number")
    return value


def _some(names: Sequence[str]) -> str:
    rest = len(names) - NAMED_AT_MOST
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {rest} more" if rest > 0 else "")
