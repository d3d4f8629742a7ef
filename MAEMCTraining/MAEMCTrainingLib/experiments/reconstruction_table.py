"""Table 6 of Zhao et al. 2025: errors of reconstruction in gray levels, beside what fills the gaps without learning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from MAEMCLib.files.atomic import read_json
from MAEMCLib.report.sections import Metric

from ..pretext.filling import INTERPOLATION, VISIBLE_MEAN
from ..pretext.gray_levels import HIDDEN, MEASURES, WHOLE
from ..pretext.report import NETWORK, PLANES, UNTRAINED
from .cell import Cell
from .ranges import write_ranges
from .writing import write_csv, write_markdown

_BESIDE = (UNTRAINED, VISIBLE_MEAN, INTERPOLATION)


def write_table(cells: Sequence[Cell], output: Path) -> list[dict[str, Any]]:
    """table.csv, table.md and experiment.png of the cells that are finished; returns the rows.

    The cells hide the same pixels of the same cases, so that what fills them unlearned stands there once; the network
    before training is the first cell's.
    """
    rows: dict[str, dict[str, Any]] = {}
    beside: dict[str, dict[str, Any]] = {}
    facts = ""
    for cell in cells:
        path = output / cell.name / "pretext.json"
        if not path.is_file():
            continue
        report = read_json(path, "The evaluation of a pre-training")
        levels = report["gray_levels"]
        rows[cell.row] = {plane: levels[plane][NETWORK] for plane in PLANES}
        for name in _BESIDE:
            beside.setdefault(name, {plane: levels[plane][name] for plane in PLANES})
        facts = f"{report['cases']} cases of {report['patients']} patients that no pre-training saw"
    if not rows:
        return []
    own = len(rows)
    rows |= beside
    columns = [(pixels, key) for pixels in (WHOLE, HIDDEN) for key in MEASURES if (pixels, key) != (HIDDEN, "ssim")]
    flat, texts = [], []
    for name, figures in rows.items():
        for plane in PLANES:
            found = {f"{pixels} {key}": figures[plane][pixels][key] for pixels, key in columns}
            flat.append({"row": name, "plane": plane, **{key: metric["value"] for key, metric in found.items()}})
            texts.append((f"{name}, {plane}", [_text(metric) for metric in found.values()]))
    write_csv(output / "table.csv", list(flat[0]), flat)
    note = (
        f"Gray levels 0 to 255 of the window; {facts}. Whole montages: visible pixels as they are. PSNR: the cases' "
        "mean. The coronal plane goes through the momentum encoder where there is one. Research only."
    )
    write_markdown(output / "table.md", [f"{MEASURES[key]}, {pixels}" for pixels, key in columns], texts, note)
    panels = {
        f"{MEASURES[key]}, {plane}": {name: figures[plane][WHOLE][key] for name, figures in rows.items()}
        for key in ("psnr", "ssim")
        for plane in PLANES
    }
    write_ranges(output / "experiment.png", panels, f"Whole montages, {facts}. Research only.", own)
    return flat


def _text(metric: dict[str, Any]) -> str:
    if metric["value"] is None:
        return "-"
    return Metric.of(metric).text(3 if metric["value"] < 1 else 2)
