"""Reading of the CSV tables that data sets come with."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from MAEMCLib.errors import InputError


def read_table(path: Path, needed: Sequence[str] = ()) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Columns, and (row as a spreadsheet counts it, values without blanks around) of every row that is not empty.

    Raises InputError: a file that cannot be read as CSV text, is empty, or lacks a column that is needed.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            columns = [(name or "").strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            records = [(reader.line_num, record) for record in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV text ({error}). Save it as CSV in UTF-8.", "unreadable") from (
            error
        )
    if not columns:
        raise InputError(f"{path} is empty.", "manifest-empty")
    if missing := [name for name in needed if name not in columns]:
        plural = "s" * (len(missing) > 1)
        raise InputError(
            f"{path} lacks the column{plural} {', '.join(missing)}. It has {', '.join(columns)}.", "manifest-columns"
        )
    clean = [(line, {name: (record.get(name) or "").strip() for name in columns}) for line, record in records]
    return columns, [(line, record) for line, record in clean if any(record.values())]
