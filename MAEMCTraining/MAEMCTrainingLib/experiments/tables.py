"""Writing the table of an experiment: for programs and for people, in the formats of all reports."""

from __future__ import annotations

from pathlib import Path

from MAEMCLib.report.formats import write_report
from MAEMCLib.report.sections import Note, Report, Section, Table


def write_table(output: Path, table: Table, note: str, shown: Table | None = None) -> None:
    """table.csv of a table, and table.md of the same or of what is shown to people in its place, with a note below."""
    for ending, part in (("csv", table), ("md", shown or table)):
        write_report(Report("", [Section("", [part, Note(note)])]), output / f"table.{ending}")
