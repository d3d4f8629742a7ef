"""Writing the table of an experiment: for programs and for people, in the formats of all reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MAEMCLib.report.formats import write_report
from MAEMCLib.report.sections import Metric, Note, Report, Section, Table


@dataclass(frozen=True)
class Row:
    """A row of the table of fine-tunings.

    auc: out of fold. over_forest: the AUC minus that of the random forest. steps: of a fold's training; minutes: of all
    folds'. job: the folder, empty for a baseline.
    """

    row: str
    labels: int | str
    auc: Metric
    auc_within_folds: float | None
    over_forest: Metric | None = None
    steps: int | None = None
    minutes: float | None = None
    pretraining_minutes: float | None = None
    job: str = ""

    @classmethod
    def of(cls, name: str, labels: int, metrics: Mapping[str, Any], **others: Any) -> Row:
        """metrics: as metrics.json holds them. labels: 0 for all."""
        within = metrics.get("auc_within_folds")
        return cls(name, labels or "all", Metric.of(metrics["auc"]), within["value"] if within else None, **others)


def write_table(output: Path, table: Table, note: str, shown: Table | None = None) -> None:
    """table.csv of a table, and table.md of the same or of what is shown to people in its place, with a note below."""
    for ending, part in (("csv", table), ("md", shown or table)):
        write_report(Report("", [Section("", [part, Note(note)])]), output / f"table.{ending}")
