"""Figures of a scored 2-D picture: the picture, a map of places on it, and the map as the network gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..results import DISCLAIMER, NoduleResult
from .nodule import new_figure, result_title
from .words import TITLES, worth_lines

if TYPE_CHECKING:
    from ..inputs.view import View

_HEIGHT = 3.2  # inches of a panel
_HEADS_ACROSS = 8
_NOTHING = 1e-6  # a share that is rounding alone


def map_figure(result: NoduleResult, gray: np.ndarray, view: View, found, sanity, side: int):
    """A matplotlib figure of one map: the picture, the map on it, the raw grid beside it; below it what it is worth.

    gray: (rows, columns) in [0, 1]. found: ``attention.PlaceMap``. sanity: ``sanity.Sanity`` of the map. side: pixels
    to which its grid is interpolated over the square ``view``.
    """
    ratio = float(np.clip(gray.shape[1] / gray.shape[0], 0.7, 2.0))
    figure = new_figure(_HEIGHT * (2 * ratio + 1) + 1.0, _HEIGHT + 1.45)
    axes = figure.subplots(1, 4, width_ratios=[ratio, ratio, 1, 0.05])
    _picture(axes[0], gray)
    if view.width < max(gray.shape):  # the network sees less than the picture
        _rectangle(axes[0], view.left, view.top, view.width, view.width)
    axes[0].set_title(f"picture, {gray.shape[1]} x {gray.shape[0]}", fontsize=9)
    _overlay(axes[1], gray, view, found.interpolated(side))
    axes[1].set_title(TITLES[found.kind], fontsize=9)
    rows, columns = found.grid.shape
    shown = axes[2].imshow(found.grid, cmap="inferno", interpolation="nearest")
    axes[2].set(xticks=[], yticks=[])
    _frame(axes[2], gray, view, found.grid.shape)
    dashed = ", dashed: the picture" if view.outside(gray) > _NOTHING else ""
    axes[2].set_title(f"as the network gives it, {rows} x {columns}{dashed}", fontsize=9)
    figure.colorbar(shown, cax=axes[3]).ax.tick_params(labelsize=7)
    figure.suptitle(result_title(result), fontsize=11, parse_math=False)
    lines = [*worth_lines(sanity, result.class_name), DISCLAIMER]
    figure.supxlabel("\n".join(lines), fontsize=7.5, color="0.25", parse_math=False)
    return figure


def heads_figure(gray: np.ndarray, view: View, heads: np.ndarray, grown: np.ndarray):
    """A matplotlib figure of every head of the last block: on the picture, and below that its raw grid.

    heads: (members, heads, g, g). grown: (members, heads, side, side), the same interpolated.
    """
    members, count = heads.shape[:2]
    across = min(count, _HEADS_ACROSS)
    bands = [(m, start) for m in range(members) for start in range(0, count, across)]
    figure = new_figure(1.45 * across + 0.3, 3.15 * len(bands) + 0.5)
    axes = figure.subplots(2 * len(bands), across, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for band, (member, start) in enumerate(bands):
        for column, head in enumerate(range(start, min(start + across, count))):
            on_picture, raw = axes[2 * band, column], axes[2 * band + 1, column]
            _overlay(on_picture, gray, view, grown[member, head])
            name = f"member {member + 1}, head {head + 1}" if members > 1 else f"head {head + 1}"
            on_picture.set_title(name, fontsize=7)
            raw.imshow(heads[member, head], cmap="inferno", interpolation="nearest")
    text = f"Attention of the last block, head by head, each in its own range. {DISCLAIMER}"
    figure.supxlabel(text, fontsize=7.5, color="0.25", wrap=True)
    return figure


def reconstruction_figure(result: NoduleResult, seen: np.ndarray, reconstructed: np.ndarray, error: np.ndarray):
    """A matplotlib figure of what the network sees (side, side), its reconstruction, and the error."""
    figure = new_figure(3 * _HEIGHT + 0.6, _HEIGHT + 0.7)
    titles = ("seen", "reconstructed", "error")
    for axis, title, image in zip(figure.subplots(1, 3), titles, (seen, reconstructed, error), strict=True):
        axis.imshow(image, cmap="magma" if title == "error" else "gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set(xticks=[], yticks=[])
        axis.set_title(title, fontsize=9)
    figure.suptitle(result_title(result), fontsize=11, parse_math=False)
    figure.supxlabel(DISCLAIMER, fontsize=7.5, color="0.25", parse_math=False)
    return figure


def _picture(axis, gray: np.ndarray) -> None:
    rows, columns = gray.shape
    axis.imshow(gray, cmap="gray", vmin=0, vmax=1, extent=(0, columns, rows, 0), interpolation="nearest")
    axis.set(xticks=[], yticks=[], xlim=(0, columns), ylim=(rows, 0))


def _overlay(axis, gray: np.ndarray, view: View, grown: np.ndarray) -> None:
    """The map over the picture, the more opaque the higher, so that places of no weight show the picture itself."""
    _picture(axis, gray)
    low, high = float(grown.min()), float(grown.max())
    scaled = (grown - low) / (high - low) if high > low else np.zeros_like(grown)
    extent = (view.left, view.left + view.width, view.top + view.width, view.top)
    axis.imshow(scaled, cmap="inferno", vmin=0, vmax=1, alpha=0.6 * scaled, extent=extent, interpolation="bilinear")
    axis.set(xlim=(0, gray.shape[1]), ylim=(gray.shape[0], 0))


def _frame(axis, gray: np.ndarray, view: View, grid: tuple[int, int]) -> None:
    """Where the picture lies on the grid, where the black frame about it is a part of what the network sees."""
    if view.outside(gray) > _NOTHING:
        cell = view.width / grid[0]
        rows, columns = (min(size, view.width) / cell for size in gray.shape)
        top, left = max(-view.top, 0) / cell, max(-view.left, 0) / cell
        _rectangle(axis, left - 0.5, top - 0.5, columns, rows)


def _rectangle(axis, left: float, top: float, width: float, height: float) -> None:
    from matplotlib.patches import Rectangle

    style = {"fill": False, "edgecolor": "#4fc3f7", "linestyle": "--", "linewidth": 1.2}
    axis.add_patch(Rectangle((left, top), width, height, **style))
