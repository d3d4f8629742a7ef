"""Running an experiment: every cell a job of its own, a table and a figure of what they reached.

Everything lies in one folder; the same command continues where it was stopped, and renews the table after each cell.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from MAEMCLib.atomic import read_json, replacing

from ..evaluation.tables import cell as metric_text
from ..event_log import EventLog
from ..jobs import Job
from . import Cell
from .figure import write_figure
from .repeats import write_repeats

_COLUMNS = (
    "row", "labels", "auc", "auc_low", "auc_high", "auc_within_folds", "over_forest", "over_forest_low",
    "over_forest_high", "steps", "minutes", "pretraining_minutes", "job",
)  # fmt: skip
FOREST = "random forest on the central pixels"
SMALL_CNN = "small-cnn"
"""Folder of the rival network's job, and its name for --only."""
_BASELINES = ("size alone", "radial profile", FOREST, "untrained encoder")  # names begin so

Maemc = Callable[[Sequence[str]], int]
"""``maemc-train`` with a list of arguments, returning its exit code."""


def run_experiment(
    cells: Sequence[Cell],
    data: Sequence[Path],
    pretraining_data: Sequence[Path],
    output: Path,
    words: Sequence[str],
    maemc_train: Maemc,
    quiet: bool,
    settings: Sequence[str] = (),
    shown: Sequence[Cell] = (),
) -> int:
    """Run the cells that are not finished. words: of the command line for all of them (preset, device, threads).
    shown: the cells of the table, where these are a part of them.
    settings: KEY=VALUE for all of them, after the cell's own.

    pretraining_data: what pre-trained cells are pre-trained on; where it is empty, the labeled data themselves, and the
    honest protocol repeats the pre-training in each fold. Returns the exit code of the command that ended the run.
    """
    output.mkdir(parents=True, exist_ok=True)
    for number, cell in enumerate(cells):
        if not quiet:
            print(f"{cell.row}, {cell.labels or 'all'} labels ({number + 1} of {len(cells)})", file=sys.stderr)
        start = "scratch"
        if cell.pretraining is not None:
            start = str(output / _pretraining_name(cell))
            sources = list(pretraining_data or data)
            if cell.reduced:
                sources = [output / f"{path.stem}-reduced.csv" for path in sources]
                code = _reduce(maemc_train, list(pretraining_data or data), sources, quiet)
                if code:
                    return code
            words_of_pretraining = ["pretrain", *_data(sources), *words, *cell.pretraining, *settings]
            code = _job(maemc_train, Path(start), words_of_pretraining)
            if code:
                return code
        job = output / cell.name
        code = _job(maemc_train, job, ["finetune", *_data(data), "--from", start, *words, *cell.finetuning, *settings])
        if code:
            return code
        write_table(shown or cells, output)
    return 0


def _pretraining_name(cell: Cell) -> str:
    words = [*(cell.pretraining or ()), *(["reduced"] if cell.reduced else [])]
    return "pretraining-" + hashlib.sha256(" ".join(words).encode()).hexdigest()[:8]


def _reduce(maemc_train: Maemc, sources: list[Path], outputs: list[Path], quiet: bool) -> int:
    """Leave similar slices out of each manifest that was not reduced yet."""
    for source, output in zip(sources, outputs, strict=True):
        if not output.is_file():
            words = ["reduce", str(source), "--method", "hash", "--threshold", "6", "--output", str(output)]
            code = maemc_train([*words, *(["--quiet"] if quiet else [])])
            if code:
                return code
    return 0


def _data(paths: Sequence[Path]) -> list[str]:
    return [word for path in paths for word in ("--data", str(path))]


def _job(maemc_train: Maemc, folder: Path, arguments: list[str]) -> int:
    if (folder / "job.json").is_file() and Job(folder).status == "finished":
        return 0
    return maemc_train([*arguments, "--output", str(folder)])


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
            row |= {"pretraining_minutes": _minutes(EventLog(output / _pretraining_name(cell)))}
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
    _write_csv(output / "table.csv", rows)
    with replacing(output / "table.md") as temporary:
        temporary.write_text(_markdown(rows), encoding="utf-8")
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
    trained = [event for event in events if event["phase"] == "finetune"]
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
    moments = [datetime.fromisoformat(event["time"]) for event in log.events if event["phase"] == "pretrain"]
    return round((max(moments) - min(moments)).total_seconds() / 60, 1) if moments else None


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _markdown(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(row["labels"] for row in rows))
    lines = ["| | " + " | ".join(f"{count} labels" for count in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name in dict.fromkeys(row["row"] for row in rows):
        found = {row["labels"]: row for row in rows if row["row"] == name}
        texts = [
            metric_text({"value": r["auc"], "low": r["auc_low"], "high": r["auc_high"]}) if (r := found.get(c)) else ""
            for c in columns
        ]
        lines.append(f"| {name} | " + " | ".join(texts) + " |")
    return "\n".join([*lines, "", "Out-of-fold AUC with its 95 % interval by patient. Research only.", ""])
