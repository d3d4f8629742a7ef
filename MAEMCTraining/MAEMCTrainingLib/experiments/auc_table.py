"""The table of fine-tunings: out-of-fold AUC of each row with 30, 100, all labels, beside what costs nothing.

Its figure says what more labels bring, and what more time brings.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.files.atomic import read_json, replacing
from MAEMCLib.report.sections import Difference, Table

from ..evaluation.baselines import FOREST, SIZE
from ..jobs.files import read_events
from ..jobs.job import Job
from .cell import Cell
from .repeats import write_repeats
from .small_cnn import SMALL_CNN
from .tables import Row, finished, write_table

_BASELINES = (SIZE, "radial profile", FOREST, "observed slices", "untrained encoder")  # names begin so
_COLORS = (
    "#1f4e79", "#b0651d", "#6a8f3c", "#8a5a9e", "#b23a48", "#3c8f8f", "#7a6a4f", "0.4", "#d08aa8", "#5b8def", "#a8a100",
    "#2e6e4e", "#c97f4f",
)  # fmt: skip
_FROZEN = (", frozen", ", linear probe")


def write_aucs(cells: Sequence[Cell], output: Path) -> None:
    """table.csv, table.md and experiment.png of the cells that are finished, but not of repeats (``repeats``)."""
    rows, curves = [], {}
    baselines: dict[tuple[str, int], Row] = {}
    for cell, report in finished([cell for cell in cells if not cell.repeat], output, "metrics.json"):
        folder = output / cell.name
        events = [event for event in read_events(folder) if "phase" in event]
        pretraining = None if cell.pretraining is None else output / cell.pretraining_folder
        over = report["comparisons"].get(FOREST)
        rows.append(
            Row.of(
                cell.row,
                cell.labels,
                report["metrics"],
                over_forest=Difference(**over["difference"]) if over else None,
                steps=max((e["step"] for e in events if e["phase"] == "finetune" and "step" in e), default=None),
                minutes=_minutes(events, "finetune"),
                pretraining_minutes=None if pretraining is None else _minutes(read_events(pretraining), "pretrain"),
                job=cell.name,
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
    _write_figure(output / "experiment.png", rows, curves)
    write_repeats(cells, output)


def _minutes(events: list[dict[str, Any]], phase: str) -> float | None:
    """How long a phase took, or in folds all of them together; None where it did not happen."""
    # From the first event of a fold to its last; a pause between two runs of the command would count too.
    moments = defaultdict(list)
    for event in events:
        if event.get("phase") == phase and "time" in event:
            moments[event.get("fold")].append(datetime.fromisoformat(event["time"]))
    seconds = sum((max(own) - min(own)).total_seconds() for own in moments.values())
    return round(seconds / 60, 1) if moments else None


def _subject(name: str) -> str:
    """What shares a color: the frozen and the fine-tuned row of one method."""
    return name.removesuffix(", fine-tuned").removesuffix(_FROZEN[0]).removesuffix(_FROZEN[1])


def _write_figure(path: Path, rows: Sequence[Row], curves: Mapping[str, Sequence[Mapping]]) -> None:
    """Left: AUC with intervals against the number of labels, baselines as lines. Right: the AUC of the folds'
    validation parts (mean over folds) against the share of the training's steps. Frozen encoders have open circles.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.6), layout="constrained", facecolor="white")
    labels, time = figure.subplots(1, 2)
    names = list(dict.fromkeys(row.row for row in rows))
    counts = sorted({row.labels for row in rows}, key=lambda count: (count == "all", count))
    trained = list(dict.fromkeys(row.row for row in rows if row.job))
    subjects = list(dict.fromkeys(_subject(name) for name in trained))
    for number, name in enumerate(trained):
        color = _COLORS[subjects.index(_subject(name)) % len(_COLORS)]
        face = "white" if name.endswith(_FROZEN) else color
        own = [row for row in rows if row.row == name]
        places = np.array([counts.index(row.labels) for row in own]) + 0.06 * (number - len(trained) / 2)
        auc, low, high = np.array([[row.auc.value, row.auc.low, row.auc.high] for row in own], dtype=float).T
        style = {"marker": "o", "markersize": 4, "markerfacecolor": face, "capsize": 2}
        labels.errorbar(places, auc, [auc - low, high - auc], color=color, label=name, **style)
        if curves.get(name):
            time.plot(*_mean_curve(curves[name]), color=color, label=name)
    for name, style in zip([name for name in names if name not in trained], ("--", ":", "-."), strict=False):
        value = next(row.auc.value for row in rows if row.row == name)
        labels.axhline(value, color="0.5", linestyle=style, linewidth=1, label=f"{name}, all labels")
    labels.set_xticks(range(len(counts)), [str(count) for count in counts])
    labels.set_xlim(-0.5, len(counts) - 0.5)
    labels.set_xlabel("labeled cases in a fold's training part")
    labels.set_ylabel("out-of-fold AUC, 95 % interval")
    time.set_xlabel("share of the training's steps, all labels")
    time.set_ylabel("AUC on the validation parts, mean of the folds")
    for axis in (labels, time):
        axis.set_ylim(0.3, 1.02)
        axis.axhline(0.5, color="0.85", linewidth=1, zorder=0)
        axis.spines[["top", "right"]].set_visible(False)
    handles, texts = labels.get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside right center", fontsize=8, frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _mean_curve(events: Sequence[Mapping]) -> tuple[np.ndarray, np.ndarray]:
    """Share of the steps and the folds' mean validation AUC; a fold that ended early keeps its last value."""
    folds = sorted({event["fold"] for event in events})
    last = max(event["epoch"] for event in events)
    values = np.full((len(folds), last + 1), np.nan)
    for event in events:
        values[folds.index(event["fold"]), event["epoch"]] = event.get("auc", np.nan)
    for before, present in pairwise(values.T):
        np.copyto(present, before, where=np.isnan(present))
    return np.arange(1, last + 2) / (last + 1), values.mean(axis=0)
