"""A manifest whose rows are to be scored: what a radiology table looks like, and no row in the way of another.

``case_id, image`` and, of nodules in a CT, ``l_mm, p_mm, s_mm``. ``nodule_id`` tells the nodules of a case apart; where
it is empty they are N1, N2 ... (pictures P1, P2 ...) in the order of the manifest. ``series`` (UID, or UID#2) chooses
among the series of a DICOM folder; ``diameter_mm`` and the values that the model asks for may be given. Everything else
is ignored, the patient and the label included.
"""

from __future__ import annotations

import csv
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from .case import Case
from .manifest import POINT, Manifest, Record, check_columns, lenient_row, read_records, text_in


def read_scoring_manifest(path: str | Path) -> Manifest:
    """Read a manifest for scoring: a row at fault is kept with its ``problem``, and each has its ``nodule_id``.

    Raises InputError for what concerns the file as a whole: no file, no text, no rows, a column missing or twice.
    """
    path = Path(path).absolute()
    columns, records = read_records(path)
    sound = [record for _, record in records if not isinstance(record, csv.Error)]
    nodules = bool(sound) and all(text_in(record, "kind") in ("", "nodule") for record in sound)
    check_columns(path, columns, ["case_id", "image", *(POINT if nodules else ())])
    rows = [_row(path, line, record) for line, record in records]
    return Manifest(path, tuple(_told_apart(rows, [line for line, _ in records])))


def _row(path: Path, line: int, record: Record | csv.Error) -> Case:
    if isinstance(record, csv.Error):
        text = f"Row {line} of the manifest cannot be read as CSV ({record}). Rows after it may be a part of it."
        return Case(f"row {line}", "", path.parent, problem=text)
    return replace(lenient_row(path, line, record, scoring=True), nodule_id=text_in(record, "nodule_id"))


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
