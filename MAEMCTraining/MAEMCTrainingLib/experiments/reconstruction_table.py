"""Table 6 of Zhao et al. 2025: errors of reconstruction in gray levels, beside what fills the gaps without learning."""

from collections.abc import Sequence
from pathlib import Path

from MAEMCLib.report.sections import Metric, Table

from ..pretext.filling import INTERPOLATION, VISIBLE_MEAN
from ..pretext.gray_levels import HIDDEN, MEASURES, WHOLE
from ..pretext.report import NETWORK, PLANES, UNTRAINED
from .cell import Cell
from .tables import finished, write_ranges, write_table

_COLUMNS = [(pixels, key) for pixels in (WHOLE, HIDDEN) for key in MEASURES if (pixels, key) != (HIDDEN, "ssim")]


def write_reconstructions(cells: Sequence[Cell], output: Path) -> None:
    """table.csv, table.md and experiment.png of the cells that are finished.

    The cells mask the same pixels of the same cases, so that what fills them unlearned stands there once; the network
    before training is the first cell's.
    """
    own: dict[str, dict[str, dict]] = {}
    beside: dict[str, dict[str, dict]] = {}
    facts = ""
    for cell, report in finished(cells, output, "pretext.json"):
        levels = report["gray_levels"]
        own[cell.row] = {plane: levels[plane][NETWORK] for plane in PLANES}
        for name in (UNTRAINED, VISIBLE_MEAN, INTERPOLATION):
            beside.setdefault(name, {plane: levels[plane][name] for plane in PLANES})
        facts = f"{report['cases']} cases of {report['patients']} patients that no pre-training saw"
    if not own:
        return
    rows = own | beside
    lines = [
        (name, plane, *(Metric.of(figures[plane][pixels][key]) for pixels, key in _COLUMNS))
        for name, figures in rows.items()
        for plane in PLANES
    ]
    heads = ("", "plane", *(f"{MEASURES[key]}, {pixels}" for pixels, key in _COLUMNS))
    keys = ("row", "plane", *(f"{pixels} {key}" for pixels, key in _COLUMNS))
    note = (
        f"Gray levels 0 to 255 of the window; {facts}. Whole montages: visible pixels as they are. PSNR: the cases' "
        "mean. The coronal plane goes through the momentum encoder where there is one."
    )
    write_table(output, Table(lines, heads, keys), note)
    panels = {
        f"{MEASURES[key]}, {plane}": {name: Metric.of(figures[plane][WHOLE][key]) for name, figures in rows.items()}
        for key in ("psnr", "ssim")
        for plane in PLANES
    }
    write_ranges(output / "experiment.png", panels, f"Whole montages, {facts}.", len(own))
