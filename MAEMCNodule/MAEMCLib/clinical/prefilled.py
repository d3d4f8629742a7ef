"""What clinical scores need not ask for, since the nodule was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .fields import ERROR, LONG, NON_SOLID, PART_SOLID, SHORT, SOLID, SOLID_PART, TYPE, VOLUME

_TYPES = {"solid": SOLID, "part-solid": PART_SOLID, "ground-glass": NON_SOLID}
_SIZES = {
    LONG.name: "long_axis_mm",
    SHORT.name: "short_axis_mm",
    VOLUME.name: "volume_mm3",
    ERROR.name: "diameter_error_mm",
    SOLID_PART.name: "solid_mean_diameter_mm",
}
"""By the name of a field, the column of results that has it."""


def prefilled(row: Mapping[str, Any]) -> dict[str, float | str]:
    """{name of a field: value} of a row of results; what was not measured is left out, so that it is asked for.

    Lengths and volume are rounded to a tenth, as they are shown and as guidelines round them.
    """
    known: dict[str, float | str] = {
        name: round(row[column], 1) for name, column in _SIZES.items() if row.get(column) is not None
    }
    if row.get("composition") is not None:
        known[TYPE.name] = _TYPES[row["composition"]]
    return known
