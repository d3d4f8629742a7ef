"""Reading of the CSV tables that data sets come with."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from MAEMCLib.errors import InputError
from MAEMCLib.files import spreadsheet


def read_table(path: Path, needed: Sequence[str] = ()) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Columns, and (row as a spreadsheet counts it, values without blanks around) of every row that is not empty.

    Raises InputError: a file that cannot be read as CSV text, is empty, or lacks a column that is needed.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            columns, rows = spreadsheet.read_table(stream, ())
        if damaged := next((row for _, row in rows if isinstance(row, csv.Error)), None):
            raise damaged
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
    blank = dict.fromkeys(columns, "")
    return columns, [(line, blank | dict(zip(columns, map(str.strip, row), strict=False))) for line, row in rows]
