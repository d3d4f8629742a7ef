"""The table of fusions: macro AUC, accuracy and macro F1 of each, beside what it has to beat."""

from collections.abc import Sequence
from pathlib import Path

from MAEMCLib.report.sections import Difference, Metric, Table

from ..evaluation.page import MACRO
from ..evaluation.predictions import IMAGES_ALONE, read_predictions
from ..statistics.intervals import patient_samples
from ..statistics.metrics import auc_difference
from .cell import Cell
from .tables import finished, write_ranges, write_table

_NOTE = "Out of fold, with 95 % intervals by patient; macro: the mean over classes."


def write_fusions(cells: Sequence[Cell], output: Path) -> None:
    """table.csv, table.md and experiment.png of the cells that are finished.

    The difference is each fusion's macro AUC minus the first one's, of the same cases, with a bootstrap of patients.
    """
    own: dict[str, dict[str, Metric | None]] = {}
    beside: dict[str, dict[str, Metric | None]] = {}
    differences: dict[str, Difference] = {}
    first = None
    for cell, report in finished(cells, output, "metrics.json"):
        own[cell.row] = _macro(report["metrics"])
        for name, figures in report["baselines"].items():
            if name == IMAGES_ALONE:
                own[f"{cell.row}, {name}"] = _macro(figures)
            else:
                beside.setdefault(name, _macro(figures))
        table = read_predictions(output / cell.name / "predictions.csv")
        if first is None:
            first = table
        elif table.case_ids == first.case_ids:
            samples = patient_samples(table.labels, table.patient_numbers)
            over = auc_difference(table.labels, table.scores, first.scores, table.patient_numbers, samples)
            differences[cell.row] = Difference(**vars(over))
    if not own:
        return
    rows = own | beside
    heads, keys = ("", *MACRO.values(), "macro AUC minus the first row's"), ("row", *MACRO, "over_first")
    lines = [(name, *figures.values(), differences.get(name)) for name, figures in rows.items()]
    write_table(output, Table(lines, heads, keys), _NOTE)
    panels = {head: {name: figures[key] for name, figures in rows.items()} for key, head in MACRO.items()}
    write_ranges(output / "experiment.png", panels, _NOTE, len(own))


def _macro(metrics: dict[str, dict]) -> dict[str, Metric | None]:
    return {key: Metric.of(metrics.get(key)) for key in MACRO}
