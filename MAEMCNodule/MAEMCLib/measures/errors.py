"""How far off the diameter of an outlined nodule is: measured on patients that the network had not seen."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ..files.strict_json import parse_json

TABLE = Path(__file__).with_name("outline_errors.json")
PERCENTILE = 90


def outline_error_mm(diameter_mm: float, spacing_mm: float) -> float:
    """90 % of mean diameters of this size at this slice spacing, as the network outlines them, are nearer than this to
    those of the readers' consensus (`maemc-train outline` makes the table)."""
    rows = [row for row in _table() if row["from_mm"] <= diameter_mm and row["from_spacing_mm"] <= spacing_mm]
    return float(max(rows, key=lambda row: (row["from_mm"], row["from_spacing_mm"]))["error_mm"])


@cache
def _table() -> list[dict[str, float]]:
    return parse_json(TABLE.read_bytes())["rows"]
