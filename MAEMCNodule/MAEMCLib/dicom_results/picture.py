"""The card of a scored nodule: three views with the mask's outline, the number in the model's words, gate, measures."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from ..figures.planes import show_view
from ..images.ct import CTVolume
from ..machine.terminal import visible
from ..measures.view import plane_views
from .nodule import Outline, ReportedNodule, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RESEARCH_ONLY = "RESEARCH ONLY - not for clinical use"
NO_OUTLINE = "No outline was given: the nodule is not measured."
SIZE = 1200, 780
"""Pixels: width, height."""
_PIXELS = 380
"""A side of a view, of which each sample is a pixel."""
_GAP = 15
_TOP = 56
_NAME, _LINE, _MOST_LINES = 27, 48, 9
"""Letters of the nodule's name and of a line in a column of words, and lines that fit."""
_BANNER = "#f4b400"
_GATES = {"green": "#5cb85c", "amber": "#f4b400", "red": "#e05555", "grey": "#a0a0a0"}


def picture(volume: CTVolume, nodule: ReportedNodule) -> np.ndarray:
    """(780, 1200, 3) uint8 RGB. Nothing of the patient is written in it but the nodule's name.

    Raises InputError where the volume has no slice at the point, or NaN.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(SIZE[0] / 100, SIZE[1] / 100), dpi=100, facecolor="black")
    _banner(figure)
    mask = None if nodule.outline is None else nodule.outline.mask
    views = plane_views(volume, nodule.result.point_lps, mask, samples=_PIXELS)
    for number, (plane, view) in enumerate(views.items()):
        axis = _square(figure, _GAP + number * (_PIXELS + _GAP))
        show_view(axis, view, plane, letters=11)
        axis.set_axis_off()
    _words(figure, nodule)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _square(figure: Figure, left: int) -> Axes:
    width, height = SIZE
    return figure.add_axes((left / width, 1 - (_TOP + _PIXELS) / height, _PIXELS / width, _PIXELS / height))


def _banner(figure: Figure) -> None:
    from matplotlib.patches import Rectangle

    height = 40 / SIZE[1]
    for bottom in (1 - height, 0.0):
        bar = Rectangle((0, bottom), 1, height, transform=figure.transFigure, facecolor=_BANNER, edgecolor="none")
        figure.add_artist(bar)
        style = {"ha": "center", "va": "center", "fontsize": 17, "weight": "bold", "color": "black"}
        figure.text(0.5, bottom + height / 2, RESEARCH_ONLY, **style)


def _words(figure: Figure, nodule: ReportedNodule) -> None:
    result, card = nodule.result, nodule.card
    put = _writer(figure)
    heading = {"fontsize": 16, "weight": "bold", "va": "baseline"}
    name = plain(visible(result.nodule_id), 200)
    put(15, 482, name if len(name) <= _NAME else f"{name[: _NAME - 3].rstrip()}...", **heading)
    put(15, 496, f"{result.probability:.2f}", fontsize=32, weight="bold")
    if result.spread_text:
        put(130, 514, f"spread {result.spread_text}", fontsize=13)
    threshold = "" if result.threshold is None else f", threshold {result.threshold:.2f}"
    calibrated = "" if card.calibration.calibrated else "\nnot calibrated"
    put(15, 562, f"{card.probability_name}\n{visible(result.class_name or '')}{threshold}{calibrated}", fontsize=12)
    gate = result.gate or "grey"
    put(410, 482, f"Gate: {gate}", color=_GATES[gate], **heading)
    put(410, 502, _fitting([visible(warning.message) for warning in result.warnings]), fontsize=11)
    put(805, 482, "Measures", **heading)
    put(805, 502, "\n".join(_wrapped(_measures(nodule.outline))), fontsize=11)
    made = f"{card.id} {card.version}   SHA-256 {card.sha256[:16]}...   {result.software}   {result.time}"
    put(15, 712, visible(made), fontsize=9.5, color="#c0c0c0")


def _fitting(sentences: list[str]) -> str:
    """As many as there is room for, and how many are left."""
    shown = len(sentences)
    while len(_wrapped(sentences[:shown])) > _MOST_LINES - (shown < len(sentences)):
        shown -= 1
    left = len(sentences) - shown
    return "\n".join(_wrapped(sentences[:shown] + [f"... and {left} more"] * bool(left))) or "nothing to remark"


def _wrapped(texts: list[str]) -> list[str]:
    return [line for text in texts for line in textwrap.wrap(text, _LINE)]


def _measures(outline: Outline | None) -> list[str]:
    if outline is None:
        return [NO_OUTLINE]
    found = outline.measures
    said = {
        "border": "The mask is cut off by the border of the scan.",
        "islands": "The mask has several parts; the one at the point is measured.",
        "wall": "The mask borders on soft tissue: its surface there is a guess.",
    }
    return [
        f"long axis {found.axes.long_mm:.1f} mm, short axis {found.axes.short_mm:.1f} mm",
        f"mean diameter {found.mean_diameter_mm:.1f} mm",
        f"volume {found.volume_mm3:.0f} mm³",
        f"mean attenuation {found.mean_hu:.0f} HU, {found.composition}",
        f"Nine times in ten two readers' diameters differ by less than {found.diameter_error_mm:.1f} mm.",
        f"Outline: {visible(outline.algorithm)}",
        *([said[found.status]] if found.status in said else []),
    ]


def _writer(figure: Figure) -> Any:
    def put(x: float, y: float, text: str, color: str = "white", **style) -> None:
        """x, y: pixels from the upper left to the text's."""
        place = {"ha": "left", "va": "top", "linespacing": 1.45, "parse_math": False, **style}
        figure.text(x / SIZE[0], 1 - y / SIZE[1], text, color=color, **place)

    return put
