"""The manifest: which nodules there are, in which images, of which patients, with which labels. A CSV file with a
header.

``case_id, patient_id, image`` are always there. ``kind`` says what a row is: ``nodule`` (the default; a point
``l_mm, p_mm, s_mm`` in a CT), ``slice`` (``volume_id, slice_index`` of a stack of 2-D pictures, ordered towards S) or
``image`` (a 2-D picture). ``label``, ``split`` and ``diameter_mm`` may be empty; columns beyond these are kept as they
are. Images are files or DICOM folders, named relative to the manifest.
"""

from __future__ import annotations

import csv
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .atomic import replacing
from .errors import InputError

REQUIRED = ("case_id", "patient_id", "image")
POINT = ("l_mm", "p_mm", "s_mm")
REQUIRED_BY_KIND = {"nodule": POINT, "slice": ("volume_id", "slice_index"), "image": ()}
OPTIONAL = ("kind", "label", "split", "diameter_mm")
LABELS = {"0": 0, "1": 1, "benign": 0, "malignant": 1, "benign-like": 0, "malignant-like": 1}
NAMED_AT_MOST = 5


@dataclass(frozen=True)
class ManifestRow:
    """One case.

    image: absolute path of a file or DICOM folder. label: 0 benign, 1 malignant, None unknown. point_lps: the nodule's
    point in LPS mm (None for kinds without one). extra: further columns, as text.
    problem: why the row cannot be used, where it was read leniently; empty for a sound row.
    """

    case_id: str
    patient_id: str
    image: Path
    kind: str = "nodule"
    label: int | None = None
    split: str | None = None
    diameter_mm: float | None = None
    point_lps: tuple[float, float, float] | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Manifest:
    """The rows of a manifest, in its order, and where it lies."""

    path: Path
    rows: tuple[ManifestRow, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labeled(self) -> tuple[ManifestRow, ...]:
        """The rows whose label is known."""
        return tuple(row for row in self.rows if row.label is not None)

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
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            columns = [(name or "").strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            records = [(reader.line_num, record) for record in reader if any(v for v in record.values() if v)]
    except FileNotFoundError as error:
        raise InputError(f"There is no manifest {path}. Check the path.", "missing-file") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"The manifest {path} cannot be read as CSV text ({error}). Save it as CSV in UTF-8.", "unreadable"
        ) from error
    if not columns:
        raise InputError(
            f"The manifest {path} is empty. It needs a header with {', '.join(REQUIRED)} and a row a case.",
            "manifest-empty",
        )
    _check_columns(path, columns, records)
    if not records:
        raise InputError(f"The manifest {path} has a header and no cases. Add a row for each case.", "manifest-empty")
    if lenient:
        rows = tuple(_lenient_row(path, line, record) for line, record in records)
        _check_rows(path, rows, images=False)
    else:
        rows = tuple(_row(path, line, record) for line, record in records)
        _check_rows(path, rows)
    return Manifest(path, rows)


def write_manifest(path: str | Path, rows: Iterable[ManifestRow]) -> Path:
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
    extra = list(dict.fromkeys(name for row in rows for name in row.extra))
    columns = [*REQUIRED, *OPTIONAL, *POINT, *extra]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {path.parent} cannot be made ({error.strerror}).", "not-written") from error
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(manifest_record(path, row) for row in rows)
    return path


def manifest_record(path: Path, row: ManifestRow) -> dict[str, str]:
    """A row as the manifest at ``path`` (absolute) holds it: the text of each column."""
    record = {
        "case_id": row.case_id,
        "patient_id": row.patient_id,
        "image": _from_manifest(path, row.image),
        "kind": row.kind,
        "label": "" if row.label is None else str(row.label),
        "split": row.split or "",
        "diameter_mm": "" if row.diameter_mm is None else f"{row.diameter_mm:.2f}",
        **row.extra,
    }
    if row.extra.get("mask"):
        record["mask"] = ";".join(_from_manifest(path, path.parent / name) for name in row.extra["mask"].split(";"))
    if row.point_lps is not None:
        record |= {name: f"{value:.4f}" for name, value in zip(POINT, row.point_lps, strict=True)}
    return record


def _from_manifest(path: Path, file: Path) -> str:
    """A file as the manifest names it: relative where it lies in the manifest's folder."""
    file = Path(os.path.abspath(file))
    return file.relative_to(path.parent).as_posix() if file.is_relative_to(path.parent) else str(file)


def _check_columns(path: Path, columns: Sequence[str], records: Sequence[tuple[int, Mapping[str, str]]]) -> None:
    twice = [name for name, count in Counter(columns).items() if count > 1 and name]
    if twice:
        raise InputError(f"The manifest {path} has the column {_some(twice)} twice. Keep one.", "manifest-columns")
    kinds = {_text(record, "kind") or "nodule" for _, record in records} or {"nodule"}
    unknown = sorted(kinds - set(REQUIRED_BY_KIND))
    if unknown:
        raise InputError(
            f"The manifest {path} has rows of the kind {_some(unknown)}; known are {', '.join(REQUIRED_BY_KIND)}.",
            "manifest-kind",
        )
    needed = [*REQUIRED, *(name for kind in REQUIRED_BY_KIND if kind in kinds for name in REQUIRED_BY_KIND[kind])]
    missing = [name for name in needed if name not in columns]
    if missing:
        raise InputError(
            f"The manifest {path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; it has "
            f"{', '.join(columns)}. Columns are separated by commas.",
            "manifest-columns",
        )


def _lenient_row(path: Path, line: int, record: Mapping[str, str]) -> ManifestRow:
    try:
        return _row(path, line, record)
    except InputError as error:
        name = _text(record, "case_id") or f"row {line}"
        return ManifestRow(name, _text(record, "patient_id"), path.parent / _text(record, "image"), problem=str(error))


def _row(path: Path, line: int, record: Mapping[str, str]) -> ManifestRow:
    where = f"Row {line} of the manifest {path.name}"
    if None in record:
        raise InputError(
            f"{where} has more values than the header has columns. Quote values that hold commas.", "manifest-row"
        )
    empty = [name for name in REQUIRED if not _text(record, name)]
    if empty:
        raise InputError(f"{where} has no {' and no '.join(empty)}.", "manifest-row")
    kind = _text(record, "kind") or "nodule"
    label = _text(record, "label")
    if label and label.lower() not in LABELS:
        raise InputError(
            f"{where} has the label '{label}'. A label is 0 or benign, 1 or malignant, or empty for unknown.",
            "manifest-label",
        )
    point = None
    if kind == "nodule":
        point = tuple(_number(record, name, where) for name in POINT)
    else:
        empty = [name for name in REQUIRED_BY_KIND[kind] if not _text(record, name)]
        if empty:
            raise InputError(f"{where} is of the kind {kind} and has no {' and no '.join(empty)}.", "manifest-row")
    diameter = None
    if _text(record, "diameter_mm"):
        diameter = _number(record, "diameter_mm", where)
        if diameter <= 0.0:
            raise InputError(
                f"{where} has a diameter_mm of {diameter:g}; leave it empty where unknown.", "manifest-number"
            )
    named = {*REQUIRED, *OPTIONAL, *POINT}
    return ManifestRow(
        case_id=_text(record, "case_id"),
        patient_id=_text(record, "patient_id"),
        image=Path(os.path.abspath(path.parent / _text(record, "image"))),
        kind=kind,
        label=LABELS[label.lower()] if label else None,
        split=_text(record, "split") or None,
        diameter_mm=diameter,
        point_lps=point,
        extra={name: _text(record, name) for name in record if name and name not in named},
    )


def _check_rows(path: Path, rows: Sequence[ManifestRow], images: bool = True) -> None:
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
        there = {image: image.exists() for image in {row.image for row in rows}}
        absent = [row.case_id for row in rows if not there[row.image]]
        if absent:
            raise InputError(
                f"The manifest {path} names images that are not there: those of the cases {_some(absent)}. "
                "Paths in the column image are relative to the manifest.",
                "missing-file",
            )


def _text(record: Mapping[str, str], name: str) -> str:
    return (record.get(name) or "").strip()


def _number(record: Mapping[str, str], name: str, where: str) -> float:
    text = _text(record, name)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where} has {name} = '{text}', which is not a number.", "manifest-number")
    return value


def _some(names: Sequence[str]) -> str:
    rest = len(names) - NAMED_AT_MOST
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {rest} more" if rest > 0 else "")
