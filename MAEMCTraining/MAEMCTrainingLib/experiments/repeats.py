"""The table of repeated fine-tunings: mean and deviation over the repeats, and each row beside the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from MAEMCLib.files.atomic import replacing, write_json

from ..evaluation.predictions import PredictionTable, read_predictions
from ..statistics.repeats import RepeatedComparison, compare_repeats, corrected, repeated_auc
from .cell import Cell


def write_repeats(cells: Sequence[Cell], output: Path) -> dict[str, RepeatedComparison]:
    """repeats.md and repeats.json of the rows whose repeats are all finished; returns the comparisons with the first.

    The AUC of a repeat is the mean over its folds. Wilcoxon's test is two-sided, corrected by Holm for all rows; the
    interval of the difference is a bootstrap of patients.
    """
    rows = _finished(cells, output)
    if not rows:
        return {}
    (first, (table, scores)), *others = rows.items()
    comparisons = corrected(
        {
            name: compare_repeats(table.labels, table.folds, table.patient_numbers, scores, theirs, "two-sided")
            for name, (other, theirs) in others
            if other.case_ids == table.case_ids and len(theirs) == len(scores)
        }
    )
    lines = ["| | AUC, mean and deviation | repeats | first minus this | p (Holm) |", "|---|---|---|---|---|"]
    values = {}
    for name, (own, theirs) in rows.items():
        found = repeated_auc(own.labels, theirs, own.folds)
        values[name] = found.tolist()
        spread = f"{found.mean():.3f} ± {found.std(ddof=1):.3f}" if len(found) > 1 else f"{found.mean():.3f}"
        beside = _beside(comparisons[name]) if name in comparisons else "| |"
        lines.append(f"| {name} | {spread} | {len(found)} {beside}")
    lines += ["", f"First: {first}. Out of fold; Wilcoxon signed-rank over repeats, two-sided. Research only.", ""]
    with replacing(output / "repeats.md") as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")
    write_json(
        output / "repeats.json",
        {"first": first, "auc": values, "comparisons": {name: asdict(found) for name, found in comparisons.items()}},
    )
    return comparisons


def _beside(comparison: RepeatedComparison) -> str:
    difference, p = comparison.difference, comparison.holm
    return f"| {difference.text(signed=True)} | {'' if p is None else f'{p:.3f}'} |"


def _finished(cells: Sequence[Cell], output: Path) -> dict[str, tuple[PredictionTable, np.ndarray]]:
    """{row: (predictions of the first repeat, (repeats, cases) scores)} of rows with several repeats, all finished."""
    rows: dict[str, list[Cell]] = {}
    for cell in cells:
        rows.setdefault(cell.row, []).append(cell)
    found = {}
    for name, repeats in rows.items():
        paths = [output / cell.name / "predictions.csv" for cell in repeats]
        done = all((output / cell.name / "metrics.json").is_file() for cell in repeats)
        if len({cell.repeat for cell in repeats}) > 1 and done:
            tables = [read_predictions(path) for path in paths]
            found[name] = (tables[0], np.stack([table.scores[:, 1] for table in tables]))
    return found
