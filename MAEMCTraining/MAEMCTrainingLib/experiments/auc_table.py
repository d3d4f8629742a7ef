"""The table of fine-tunings: out-of-fold AUC of each row with 30, 100, all labels, beside what costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from MAEMCLib.files.atomic import read_json
from MAEMCLib.report.sections import Difference, Table

from ..jobs.events import read_events
from ..jobs.job import Job
from .cell import Cell
from .figure import write_figure
from .repeats import write_repeats
from .small_cnn import SMALL_CNN
from .tables import Row, write_table

FOREST = "random forest on the central pixels"
_BASELINES = ("size alone", "radial profile", FOREST, "untrained encoder")  # names begin so


def write_aucs(cells: Sequence[Cell], output: Path) -> None:
    """table.csv, table.md and experiment.png of the cells that are finished, but not of repeats (``repeats``)."""
    rows, curves = [], {}
    baselines: dict[tuple[str, int], Row] = {}
    for cell in cells:
        folder = output / cell.name
        if cell.repeat or not (folder / "metrics.json").is_file():
            continue
        report, events = read_json(folder / "metrics.json", "The cell's metrics"), read_events(folder)
        over = report["comparisons"].get(FOREST)
        rows.append(
            Row.of(
                cell.row,
                cell.labels,
                report["metrics"],
                over_forest=Difference(**over["difference"]) if over else None,
                pretraining_minutes=None if cell.pretraining is None else _minutes(output / cell.pretraining_folder),
                job=cell.name,
                **_effort(events),
            )
        )
        if not cell.labels:
            curves[cell.row] = [event for event in events if event["phase"] == "validation"]
        for name, figures in report["baselines"].items():
            if name.startswith(_BASELINES):
                encoder = Job(folder).settings["configuration"]["encoder"]
                name = name.replace("untrained encoder", f"untrained {encoder.get('backbone', 'transformer')}")
                baselines.setdefault((name, cell.labels), Row.of(name, cell.labels, figures))
    small = output / SMALL_CNN / "metrics.json"
    if small.is_file():
        rows.append(Row.of("small CNN", 0, read_json(small, "The small network's metrics"), job=SMALL_CNN))
    rows += [row for _, row in sorted(baselines.items())]
    if not rows:
        return
    columns = list(dict.fromkeys(row.labels for row in rows))
    aucs = {(row.row, row.labels): row.auc for row in rows}
    shown = [(name, *(aucs.get((name, count), "") for count in columns)) for name in dict.fromkeys(r.row for r in rows)]
    write_table(
        output,
        Table([tuple(vars(row).values()) for row in rows], keys=tuple(vars(rows[0]))),
        "Out-of-fold AUC with its 95 % interval by patient.",
        Table(shown, ("", *(f"{count} labels" for count in columns))),
    )
    write_figure(output / "experiment.png", rows, curves)
    write_repeats(cells, output)


def _effort(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Steps of a fold and minutes of all folds' fine-tuning, as the events tell."""
    trained = [e for e in events if e.get("phase") == "finetune" and {"fold", "step", "time"} <= e.keys()]
    if not trained:
        return {}
    # From the first event of a fold to its last; a pause between two runs of the command would count too.
    folds = {event["fold"] for event in trained}
    seconds = sum(_seconds([event for event in trained if event["fold"] == fold]) for fold in folds)
    return {"steps": max(event["step"] for event in trained), "minutes": round(seconds / 60, 1)}


def _minutes(folder: Path) -> float | None:
    """Minutes of a pre-training, from its first event to its last."""
    events = [event for event in read_events(folder) if event.get("phase") == "pretrain" and "time" in event]
    return round(_seconds(events) / 60, 1) if events else None


def _seconds(events: list[dict[str, Any]]) -> float:
    moments = [datetime.fromisoformat(event["time"]) for event in events]
    return (max(moments) - min(moments)).total_seconds()
