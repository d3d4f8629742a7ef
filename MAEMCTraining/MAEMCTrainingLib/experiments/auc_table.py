"""The table of fine-tunings: out-of-fold AUC of each row with 30, 100, all labels, beside what costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from MAEMCLib.files.atomic import read_json
from MAEMCLib.report.sections import Metric

from ..jobs.events import EventLog
from ..jobs.job import Job
from .cell import Cell
from .figure import write_figure
from .repeats import write_repeats
from .small_cnn import SMALL_CNN
from .writing import write_csv, write_markdown

_COLUMNS = (
    "row", "labels", "auc", "auc_low", "auc_high", "auc_within_folds", "over_forest", "over_forest_low",
    "over_forest_high", "steps", "minutes", "pretraining_minutes", "job",
)  # fmt: skip
FOREST = "random forest on the central pixels"
_BASELINES = ("size alone", "radial profile", FOREST, "untrained encoder")  # names begin so


def write_table(cells: Sequence[Cell], output: Path) -> list[dict[str, Any]]:
    """table.csv, table.md and experiment.png of the cells that are finished; returns the rows."""
    rows, curves = [], {}
    baselines: dict[tuple[str, int], dict[str, Any]] = {}
    for cell in cells:
        job = Job(output / cell.name)
        if cell.repeat:  # in the table of repeats
            continue
        if not (job.folder / "metrics.json").is_file():
            continue
        report = read_json(job.folder / "metrics.json", "The cell's metrics")
        log = EventLog(job.folder)
        log.refresh()
        row = _row(cell.row, cell.labels, report["metrics"], job.folder.name) | _effort(log.events)
        if cell.pretraining is not None:
            row |= {"pretraining_minutes": _minutes(EventLog(output / cell.pretraining_folder))}
        over = report["comparisons"].get(FOREST)
        if over:
            names = ("over_forest", "over_forest_low", "over_forest_high")
            row |= {name: over["difference"][key] for name, key in zip(names, ("value", "low", "high"), strict=True)}
        rows.append(row)
        if not cell.labels:
            curves[cell.row] = [event for event in log.events if event["phase"] == "validation"]
        for name, figures in report["baselines"].items():
            if name.startswith(_BASELINES):
                encoder = job.settings["configuration"]["encoder"]
                name = name.replace("untrained encoder", f"untrained {encoder.get('backbone', 'transformer')}")
                baselines.setdefault((name, cell.labels), figures)
    small = output / SMALL_CNN / "metrics.json"
    if small.is_file():
        rows.append(_row("small CNN", 0, read_json(small, "The small network's metrics"), SMALL_CNN))
    rows += [_row(name, labels, figures, "") for (name, labels), figures in sorted(baselines.items())]
    if not rows:
        return rows
    write_csv(output / "table.csv", _COLUMNS, rows)
    _write_markdown(output / "table.md", rows)
    write_figure(output / "experiment.png", rows, curves)
    write_repeats(cells, output)
    return rows


def _row(name: str, labels: int, metrics: dict[str, Any], job: str) -> dict[str, Any]:
    auc, within = metrics["auc"], metrics.get("auc_within_folds")
    return {
        "row": name,
        "labels": labels or "all",
        "auc": auc["value"],
        "auc_low": auc["low"],
        "auc_high": auc["high"],
        "auc_within_folds": within["value"] if within else None,
        "steps": None,
        "minutes": None,
        "job": job,
    }


def _effort(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Steps of a fold and minutes of all folds' fine-tuning, as the events tell."""
    trained = [e for e in events if e.get("phase") == "finetune" and {"fold", "step", "time"} <= e.keys()]
    folds = {event["fold"] for event in trained}
    last = [max((e for e in trained if e["fold"] == fold), key=lambda e: e["step"]) for fold in folds]
    if not last:
        return {}
    # From the first event of a fold to its last; a pause between two runs of the command would count too.
    times = [[datetime.fromisoformat(e["time"]) for e in trained if e["fold"] == fold] for fold in folds]
    seconds = sum((max(moments) - min(moments)).total_seconds() for moments in times)
    return {"steps": max(event["step"] for event in last), "minutes": round(seconds / 60, 1)}


def _minutes(log: EventLog) -> float | None:
    """Minutes of a pre-training, from its first event to its last."""
    log.refresh()
    moments = [datetime.fromisoformat(e["time"]) for e in log.events if e.get("phase") == "pretrain" and "time" in e]
    return round((max(moments) - min(moments)).total_seconds() / 60, 1) if moments else None


def _write_markdown(path: Path, rows: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(row["labels"] for row in rows))
    lines = []
    for name in dict.fromkeys(row["row"] for row in rows):
        found = {row["labels"]: row for row in rows if row["row"] == name}
        texts = [Metric(r["auc"], r["auc_low"], r["auc_high"]).text() if (r := found.get(c)) else "" for c in columns]
        lines.append((name, texts))
    heads = [f"{count} labels" for count in columns]
    write_markdown(path, heads, lines, "Out-of-fold AUC with its 95 % interval by patient. Research only.")
