"""Figures of a scored nodule or picture: its planes, its probability on a scale."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..machine.terminal import visible
from ..results import NoduleResult
from .planes import show_view

if TYPE_CHECKING:
    from ..measures.view import PlaneView


def views_figure(views: Mapping[str, PlaneView]):
    """A matplotlib figure of the planes of ``measures.view.plane_views``, side by side."""
    from matplotlib.figure import Figure

    side, gap = 3.1, 0.08  # inches
    width = len(views) * (side + gap) - gap
    figure = Figure(figsize=(width, side), facecolor="white")
    for number, (plane, view) in enumerate(views.items()):
        axis = figure.add_axes((number * (side + gap) / width, 0, side / width, 1))
        show_view(axis, view, plane)
        axis.set_axis_off()
    return figure


def scale_figure(result: NoduleResult):
    """The probability on a scale from 0 to 1, with its spread and the threshold."""
    figure = new_figure(5.2, 0.85)
    axis = figure.subplots()
    axis.barh(0, 1, height=0.34, color="0.92")
    if result.interval_low is not None:
        width = max(result.interval_high - result.interval_low, 0.004)
        axis.barh(0, width, left=result.interval_low, height=0.34, color="#7aa6c9")
    axis.plot([result.probability], [0], "o", color="#1f4e79", markersize=8)
    if result.threshold is not None:
        axis.plot([result.threshold] * 2, [-0.28, 0.28], color="0.25", linewidth=1, linestyle="--")
        axis.text(result.threshold, 0.38, f"threshold {result.threshold:.2f}", fontsize=7, ha="center", color="0.25")
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.35, 0.62), yticks=[])
    axis.tick_params(axis="x", labelsize=7, length=2)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    return figure


def new_figure(width: float, height: float):
    """An empty matplotlib figure. width, height: in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def save_figure(figure, path: Path) -> None:
    """Write a figure as PNG. Raises InputError where the place cannot be written."""
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error}). Choose a folder that can be written.") from error


def result_title(result: NoduleResult) -> str:
    """The nodule's or picture's name, its probability with the spread, and its class."""
    name = visible(result.nodule_id)
    if result.probability is None:
        return name
    spread = result.spread_text
    return f"{name}: {result.probability:.2f}{f' ({spread})' if spread else ''}, {result.class_name}"
