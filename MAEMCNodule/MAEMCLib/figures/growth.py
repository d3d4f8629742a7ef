"""A nodule in a prior and in the current CT, side by side at one scale, with its outline and axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..results import DISCLAIMER
from .planes import show_view

if TYPE_CHECKING:
    from ..measures.growth import Growth
    from ..measures.view import PlaneView


def growth_figure(prior: dict[str, PlaneView], current: dict[str, PlaneView], growth: Growth):
    """A matplotlib figure: the prior left, the current CT right, a row for each plane of ``plane_views``."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, 9.8), layout="constrained", facecolor="white")
    grid = figure.subplots(len(prior), 2)
    for column, views in enumerate((prior, current)):
        when = "prior" if column == 0 else f"current, {growth.days:g} days later"
        size = f"mean diameter {growth.mean_diameters_mm[column]:.1f} mm, {growth.volumes_mm3[column]:.0f} mm³"
        for row, (plane, view) in enumerate(views.items()):
            show_view(grid[row, column], view, plane, f"{when}\n{size}" if row == 0 else "")
    figure.suptitle(_title(growth), fontsize=11)
    figure.supxlabel(
        f"50 mm about the nodule; outline blue, long axis yellow, short axis orange.\n{DISCLAIMER}",
        fontsize=8,
        color="0.35",
    )
    return figure


def _title(growth: Growth) -> str:
    if growth.within_error:
        meaning = "within measurement error"
    elif growth.doubling_time_days is None:
        meaning = "smaller"
    else:
        meaning = f"doubling time {growth.doubling_time_days:.0f} days"
    change = f"mean diameter {growth.diameter_change_mm:+.1f} mm, volume {growth.volume_change_percent:+.0f} %"
    return f"{change}: {meaning}".capitalize()
