"""Planes of a CT about a nodule as a reader expects them: directions, scale, outline, axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..images.ct import WINDOW_HU

if TYPE_CHECKING:
    from ..measures.view import PlaneView

HALF_MM = 25.0
"""From the middle to the border of a plane."""
OUTLINE, AXES = "#4fc3f7", ("#ffd54d", "#ff8a65")
"""Colors of a mask's outline, and of its long and its short axis."""
LETTERS = "#ffd54d"
UNKNOWN = "#26303a"
"""Color of what lies outside the volume: it is not known, and not air."""
EXTENT = (-HALF_MM, HALF_MM, HALF_MM, -HALF_MM)
"""mm from the middle of a plane to the borders of its outermost pixels, as ``imshow`` takes it."""
_ENDS = {"axial": "APRL", "coronal": "SIRL", "sagittal": "SIAP"}  # at the top, at the bottom, left, right


def show_plane(axis, picture: np.ndarray, plane: str, title: str = "", letters: float = 8.0, **style):
    """Draw a picture of 50 x 50 mm about a nodule, with the patient's directions at its borders; returns what
    ``imshow`` does. plane: "axial", "coronal" or "sagittal". letters: size of the directions, points."""
    shown = axis.imshow(picture, extent=EXTENT, interpolation="nearest", **style)
    shown.set_cmap(shown.cmap.with_extremes(bad=UNKNOWN))
    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize=10)
    at = HALF_MM - 0.22 * letters
    for text, x, y in zip(_ENDS[plane], (0, 0, -at, at), (-at, at, 0, 0), strict=True):
        axis.text(x, y, text, color=LETTERS, fontsize=letters, ha="center", va="center", path_effects=_edge())
    return shown


def show_view(axis, view: PlaneView, plane: str, title: str = "", letters: float = 8.0) -> None:
    """Draw a plane of ``measures.view.plane_views`` in the lung window, with its name, a bar of 10 mm, the outline and
    the axes; without a mask a cross marks the middle."""
    low, high = WINDOW_HU
    show_plane(axis, view.hu, plane, title, letters, cmap="gray", vmin=low, vmax=high)
    if view.inside.max() > 0.5:
        places = ((np.arange(len(view.inside)) + 0.5) / len(view.inside) * 2 - 1) * HALF_MM
        axis.contour(places, places, view.inside, [0.5], colors=OUTLINE, linewidths=letters / 8)
    else:
        axis.plot([0], [0], "+", color=OUTLINE, markersize=1.5 * letters, markeredgewidth=letters / 9)
    for line, color in zip(view.axes, AXES, strict=False):
        axis.plot(*line.T, color=color, linewidth=letters / 8)
    left, bottom = -HALF_MM + 1.5, HALF_MM - 1.6
    axis.plot([left, left + 10], [bottom, bottom], color="white", linewidth=letters / 5, path_effects=_edge())
    white = {"color": "white", "va": "center", "path_effects": _edge()}
    axis.text(left + 10.8, bottom, "10 mm", fontsize=0.8 * letters, **white)
    axis.text(left, 0.22 * letters - HALF_MM, plane, fontsize=letters, **white)


def _edge() -> list:
    """To be read on white tissue too."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=1.5, foreground="black")]
