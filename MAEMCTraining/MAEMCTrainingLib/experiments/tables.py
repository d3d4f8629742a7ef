"""The table of an experiment, for programs and for people, and the figure of one without labels to vary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MAEMCLib.files.atomic import read_json, replacing
from MAEMCLib.report.formats import write_report
from MAEMCLib.report.sections import Metric, Note, Report, Section, Table
from MAEMCLib.results import DISCLAIMER

from .cell import Cell

_TRAINED, _BESIDE = "#1f4e79", "0.55"


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


def finished(cells: Sequence[Cell], output: Path, name: str) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Each cell whose figures are there, and what its file ``name`` holds."""
    for cell in cells:
        path = output / cell.name / name
        if path.is_file():
            yield cell, read_json(path, "The cell's figures")


def write_table(output: Path, table: Table, note: str, shown: Table | None = None) -> None:
    """table.csv of a table, and table.md of the same or of what is shown to people in its place, with a note below."""
    for ending, part in (("csv", table), ("md", shown or table)):
        write_report(Report("", [Section("", [part, Note(note)])]), output / f"table.{ending}")


def write_ranges(path: Path, panels: Mapping[str, Mapping[str, Metric | None]], note: str, trained: int) -> None:
    """Each figure of each row as a point with its interval.

    panels: {title: {row: metric}}, the same rows in each. trained: how many of the rows, from the first, are the
    table's own; the others, which they have to beat, are gray.
    """
    from matplotlib.figure import Figure

    names = list(next(iter(panels.values())))
    figure = Figure(figsize=(3.6 * len(panels) + 2.4, 1.5 + 0.36 * len(names)), layout="constrained", facecolor="white")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (title, metrics) in zip(axes, panels.items(), strict=True):
        for place, name in enumerate(names):
            metric = metrics[name]
            if metric is None or metric.value is None:
                continue
            color = _TRAINED if place < trained else _BESIDE
            if metric.low is not None:
                axis.plot([metric.low, metric.high], [place, place], color=color, linewidth=2)
            axis.plot(metric.value, place, "o", color=color, markersize=6)
            text = f"{metric.value:.1f}" if abs(metric.value) > 2 else f"{metric.value:.3f}"
            axis.annotate(text, (metric.value, place), (0, 5), textcoords="offset points",
                          ha="center", va="bottom", fontsize=8, color=color)  # fmt: skip
        axis.set_title(title, fontsize=10)
        axis.grid(axis="x", color="0.92")
        axis.tick_params(axis="y", length=0)
        axis.spines[["top", "right", "left"]].set_visible(False)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.7)
    figure.supxlabel(f"{note} {DISCLAIMER}", fontsize=8, color="0.35")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
