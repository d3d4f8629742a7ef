"""A nodule's measures in words: the same rows wherever they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MASK_WORDS = {
    "whole": "whole",
    "border": "cut off by the border of the scan: the nodule is larger",
    "islands": "one of several parts of the mask, the one at the point",
    "wall": "borders on soft tissue: its surface there is a guess",
}
"""What a row's ``mask_status`` says to people."""


def size_text(row: Mapping[str, Any]) -> str:
    """``12.4 x 9.8 mm``; a dash where nothing was outlined, the status where it may be wrong."""
    if row.get("long_axis_mm") is None:
        return "-"
    partly = "" if row["mask_status"] == "whole" else f" ({row['mask_status']})"
    return f"{row['long_axis_mm']:.1f} x {row['short_axis_mm']:.1f} mm{partly}"


def measure_rows(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Title and text of what was measured, by the columns of results; nothing where nothing was outlined."""

    def text(name: str, words: str) -> str:
        value = row.get(name)
        return "" if value is None else words.format(value)

    error = text("diameter_error_mm", "; 90 % of such are within {:.1f} mm of the readers'")
    sphere = text("equivalent_diameter_mm", ", of a sphere of {:.1f} mm")
    attenuation = ", ".join(filter(None, [text("mean_hu", "{:.0f} HU"), row.get("composition")]))
    rows = [
        ("Axes", text("long_axis_mm", "{:.1f}") + text("short_axis_mm", " x {:.1f} mm")),
        ("Mean diameter", text("mean_diameter_mm", "{:.1f} mm") + error),
        ("Solid part", text("solid_long_axis_mm", "{:.1f} mm")),
        ("Volume", text("volume_mm3", "{:.0f} mm³") + sphere),
        ("Attenuation", attenuation),
        ("Outline", MASK_WORDS.get(str(row.get("mask_status")), "")),
    ]
    return [(title, words) for title, words in rows if words]
