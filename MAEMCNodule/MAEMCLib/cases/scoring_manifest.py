"""A manifest whose rows are to be scored: what a radiology table looks like, and no row in the way of another.

``case_id, image`` and, of nodules in a CT, ``l_mm, p_mm, s_mm``. ``nodule_id`` tells the nodules of a case apart; where
it is empty they are N1, N2 ... (pictures P1, P2 ...) in the order of the manifest. ``series`` (UID, or UID#2) chooses
among the series of a DICOM folder; ``diameter_mm`` and the values that the model asks for may be given. Everything else
is ignored, the patient and the label included.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from .case import Case
from .manifest import POINT, Manifest, Record, check_given_once, check_present, read_records, row_of, text_in


def read_scoring_manifest(path: str | Path) -> Manifest:
    """Read a manifest for scoring: a row at fault is kept with its ``problem``, and each has its ``nodule_id``.

    Raises InputError for what concerns the file as a whole: no file, no text, no rows, a column missing or twice.
    """
    path = Path(path).absolute()
    columns, records = read_records(path)
    check_given_once(path, columns)
    sound = [record for _, record in records if not isinstance(record, csv.Error)]
    nodules = bool(sound) and all(text_in(record, "kind") in ("", "nodule") for record in sound)
    check_present(path, columns, ["case_id", "image", *(POINT if nodules else ())])
    rows = [_row(path, line, record) for line, record in records]
    return Manifest(path, tuple(_told_apart(rows, [line for line, _ in records])))


def _row(path: Path, line: int, record: Record | csv.Error) -> Case:
    if isinstance(record, csv.Error):
        text = f"Row {line} of the manifest cannot be read as CSV ({record}). Rows after it may be a part of it."
        return Case(f"row {line}", "", path.parent, problem=text)
    nodule_id = text_in(record, "nodule_id")
    try:
        return replace(row_of(path, line, record, scoring=True), nodule_id=nodule_id)
    except InputError as error:
        name = text_in(record, "case_id") or f"row {line}"
        image = path.parent / text_in(record, "image")
        return Case(name, "", image, problem=error.anonymous, nodule_id=nodule_id)


def _told_apart(rows: Sequence[Case], lines: Sequence[int]) -> list[Case]:
    """The rows with a nodule_id each; one that repeats the case_id and nodule_id of an earlier row has a problem."""
    given: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        given[row.case_id].add(row.nodule_id)
    counts: dict[str, int] = defaultdict(int)
    first: dict[tuple[str, str], int] = {}
    found = []
    for row, line in zip(rows, lines, strict=True):
        if not row.nodule_id:
            counts[row.case_id] += 1
            name = f"{'N' if row.kind == 'nodule' else 'P'}{counts[row.case_id]}"
            while name in given[row.case_id]:
                counts[row.case_id] += 1
                name = f"{name[0]}{counts[row.case_id]}"
            row = replace(row, nodule_id=name)
        earlier = first.setdefault((row.case_id, row.nodule_id), line)
        if earlier != line and not row.problem:
            text = f"Row {line} of the manifest has the case_id and nodule_id of row {earlier}. Give it its own."
            row = replace(row, problem=text)
        found.append(row)
    return found
