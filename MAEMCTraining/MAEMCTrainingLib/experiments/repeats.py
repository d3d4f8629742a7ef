"""The table of repeated fine-tunings: mean and deviation over the repeats, and each row beside the first."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from MAEMCLib.files.atomic import write_json
from MAEMCLib.report.formats import write_report
from MAEMCLib.report.sections import Cell as TableCell
from MAEMCLib.report.sections import Difference, Note, Report, Section, Table

from ..evaluation.predictions import PredictionTable, read_predictions
from ..statistics.repeats import compare_repeats, corrected, repeated_auc
from .cell import Cell

_HEADS = ("", "AUC, mean and deviation", "repeats", "first minus this", "p (Holm)")


def write_repeats(cells: Sequence[Cell], output: Path) -> None:
    """repeats.md and repeats.json of the rows whose repeats are all finished.

    The AUC of a repeat is the mean over its folds. Wilcoxon's test is two-sided, corrected by Holm for all rows; the
    interval of the difference is a bootstrap of patients.
    """
    rows = _finished(cells, output)
    if not rows:
        return
    (first, (table, scores)), *others = rows.items()
    comparisons = corrected(
        {
            name: compare_repeats(table.labels, table.folds, table.patient_numbers, scores, theirs)
            for name, (other, theirs) in others
            if other.case_ids == table.case_ids and len(theirs) == len(scores)
        }
    )
    aucs = {name: repeated_auc(own.labels, theirs, own.folds) for name, (own, theirs) in rows.items()}
    lines: list[tuple[TableCell, ...]] = []
    for name, values in aucs.items():
        deviation = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
        comparison = comparisons.get(name)
        beside = (Difference(**vars(comparison.difference)), comparison.holm) if comparison else ("", "")
        lines.append((name, f"{values.mean():.3f}{deviation}", len(values), *beside))
    note = f"First: {first}. Out of fold; Wilcoxon signed-rank over repeats, two-sided."
    write_report(Report("", [Section("", [Table(lines, _HEADS), Note(note)])]), output / "repeats.md")
    write_json(
        output / "repeats.json",
        {
            "first": first,
            "auc": {name: values.tolist() for name, values in aucs.items()},
            "comparisons": {name: asdict(comparison) for name, comparison in comparisons.items()},
        },
    )


def _finished(cells: Sequence[Cell], output: Path) -> dict[str, tuple[PredictionTable, np.ndarray]]:
    """{row: (predictions of the first repeat, (repeats, cases) scores)} of rows with several repeats, all finished."""
    rows: dict[str, list[Cell]] = {}
    for cell in cells:
        rows.setdefault(cell.row, []).append(cell)
    finished = {}
    for name, repeats in rows.items():
        folders = [output / cell.name for cell in repeats]
        if len({cell.repeat for cell in repeats}) > 1 and all(
            (folder / "metrics.json").is_file() for folder in folders
        ):
            tables = [read_predictions(folder / "predictions.csv") for folder in folders]
            finished[name] = (tables[0], np.stack([table.scores[:, 1] for table in tables]))
    return finished
