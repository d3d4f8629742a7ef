"""The table of fusions: macro AUC, accuracy and macro F1 of each, beside what it has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from MAEMCLib.files.atomic import read_json
from MAEMCLib.report.sections import Metric

from ..evaluation.out_of_fold import IMAGES_ALONE
from ..evaluation.page import MACRO
from ..evaluation.predictions import read_predictions
from ..jobs.job import Job
from ..statistics.bootstrap import patient_samples
from ..statistics.metrics import auc_difference
from .cell import Cell
from .ranges import write_ranges
from .writing import write_csv, write_markdown

_DIFFERENCE = "over_first"


def write_table(cells: Sequence[Cell], output: Path) -> list[dict[str, Any]]:
    """table.csv, table.md and experiment.png of the cells that are finished; returns the rows.

    The difference is each fusion's macro AUC minus the first one's, of the same cases, with a bootstrap of patients.
    """
    found: dict[str, dict[str, Any]] = {}
    beside: dict[str, dict[str, Any]] = {}
    first = None
    for cell in cells:
        job = Job(output / cell.name)
        if not (job.folder / "metrics.json").is_file():
            continue
        report = read_json(job.folder / "metrics.json", "The cell's metrics")
        found[cell.row] = dict(report["metrics"])
        for name, figures in report["baselines"].items():
            if name == IMAGES_ALONE:
                found[f"{cell.row}, {name}"] = figures
            else:
                beside.setdefault(name, figures)
        own = read_predictions(job.folder / "predictions.csv")
        if first is None:
            first = own
        elif own.case_ids == first.case_ids:
            samples = patient_samples(own.labels, own.patient_numbers)
            over = auc_difference(own.labels, own.scores, first.scores, own.patient_numbers, samples)
            found[cell.row][_DIFFERENCE] = vars(over)
    if not found:
        return []
    rows = found | beside
    columns = {**MACRO, _DIFFERENCE: "macro AUC minus the first row's"}
    flat = [_flat(name, figures, columns) for name, figures in rows.items()]
    write_csv(output / "table.csv", list(dict.fromkeys(key for row in flat for key in row)), flat)
    texts = [(name, [_text(key, figures.get(key)) for key in columns]) for name, figures in rows.items()]
    note = "Out of fold, with 95 % intervals by patient; macro: the mean over classes. Research only."
    write_markdown(output / "table.md", list(columns.values()), texts, note)
    panels = {head: {name: figures.get(key) for name, figures in rows.items()} for key, head in MACRO.items()}
    write_ranges(
        output / "experiment.png", panels, "Out of fold, 95 % intervals by patient. Research only.", len(found)
    )
    return flat


def _text(key: str, metric: dict[str, Any] | None) -> str:
    if metric is None:
        return ""
    return Metric.of(metric).text(signed=key == _DIFFERENCE)


def _flat(name: str, figures: dict[str, Any], columns: dict[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {"row": name}
    for key in columns:
        metric = figures.get(key) or {"value": None, "low": None, "high": None}
        row |= {key: metric["value"], f"{key}_low": metric["low"], f"{key}_high": metric["high"]}
    return row
