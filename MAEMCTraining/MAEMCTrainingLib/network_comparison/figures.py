"""Figures of a comparison of two networks: agreement of the layers, cases by their features, maps side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..classifiers.values import is_number
from .colorings import LABEL, Coloring
from .layers import INPUT

SPACES = ("pixels", "a", "b")
Planes = dict[str, np.ndarray | None]
"""The t-SNE (cases, 2) of each of ``SPACES``; None where all cases are the same."""
_LABELS = {"benign": "#7aa6c9", "malignant": "#b23a48"}
_UNKNOWN = "0.78"
_MOST_COLORS = 10
_MOST_WRITTEN = 14  # layers of a side whose values are still legible in their squares
_OUTLINE = "#ffd23f"


@dataclass(frozen=True)
class MapExamples:
    """Cases. images: (examples, s, s), as the first network is shown them. maps, parts: of both, (examples, S, S)."""

    images: np.ndarray
    maps: tuple[np.ndarray, np.ndarray]
    parts: tuple[np.ndarray, np.ndarray]


def named(report: dict[str, Any], which: str) -> str:
    """ "A (moco)": a network in a figure or a table; names alone may be the same."""
    name = report[which]["name"]
    return f"{which.upper()} ({name if len(name) <= 28 else name[:27] + '…'})"


def cka_figure(report: dict[str, Any]):
    """A matplotlib figure: every layer of A (rows, the first at the bottom) with every layer of B, and of equal
    architectures the same layers' values from the first to the last.
    """
    from matplotlib.figure import Figure

    cka = report["cka"]
    values = np.array([[np.nan if v is None else v for v in row] for row in cka["values"]], dtype=float)
    lines = cka["diagonal"] is not None
    figure = Figure(figsize=(11.4 if lines else 6.2, 5.2), layout="constrained", facecolor="white")
    axes = figure.subplots(1, 2 if lines else 1, squeeze=False, width_ratios=[1.15, 1] if lines else None)[0]
    _heat_map(figure, axes[0], report, values)
    if lines:
        _course(axes[1], report, values)
    return figure


def _heat_map(figure, axis, report: dict[str, Any], values: np.ndarray) -> None:
    from matplotlib import colormaps

    colors = colormaps["magma"].with_extremes(bad="0.9")
    # Unbiased values of what has nothing in common lie about 0, on either side.
    shown = axis.imshow(np.ma.masked_invalid(values), cmap=colors, vmin=0, vmax=1, origin="lower", aspect="auto")
    for which, set_ticks, set_label in (
        ("a", axis.set_yticks, axis.set_ylabel),
        ("b", axis.set_xticks, axis.set_xlabel),
    ):
        names = report["cka"][f"layers_{which}"]
        set_ticks(*_ticks(names), fontsize=8)
        set_label(f"layers of {named(report, which)}", fontsize=9)
    axis.tick_params(axis="x", rotation=60)
    if max(values.shape) <= _MOST_WRITTEN:
        for (row, column), value in np.ndenumerate(values):
            text = "-" if np.isnan(value) else f"{value:.2f}".replace("-0.00", "0.00")
            color = "0.3" if np.isnan(value) else "white" if value < 0.6 else "black"
            axis.text(column, row, text, ha="center", va="center", fontsize=7.5, color=color)
    axis.set_title("Linear CKA of the layers", fontsize=10)
    figure.colorbar(shown, ax=axis, shrink=0.8).ax.tick_params(labelsize=8)


def _ticks(names: Sequence[str]) -> tuple[list[int], list[str]]:
    """Places and names of the layers that an axis names: some 16, the last among them."""
    places = sorted({*range(0, len(names), -(-len(names) // 16)), len(names) - 1})
    return places, [names[place] for place in places]


def _course(axis, report: dict[str, Any], values: np.ndarray) -> None:
    names = report["cka"]["layers_a"]
    x, first = np.arange(len(names)), names.index(INPUT)
    lines = (
        ("the same layer of A and B", np.diagonal(values), "#1f4e79", "o-", 2.0),
        (f"layer of {named(report, 'a')} and the pixels", values[:, first], "#b0651d", "s--", 1.2),
        (f"layer of {named(report, 'b')} and the pixels", values[first], "#6a8f3c", "^--", 1.2),
    )
    for label, line, color, style, width in lines:
        axis.plot(x, line, style, color=color, linewidth=width, markersize=5, label=label)
    axis.set_xticks(*_ticks(names), fontsize=8, rotation=60)
    axis.set_ylim(min(-0.05, np.nanmin(values) - 0.05) if np.isfinite(values).any() else -0.05, 1.05)
    axis.set_ylabel("CKA", fontsize=9)
    axis.set_title("From the first layer to the last", fontsize=10)
    axis.tick_params(axis="y", labelsize=8)
    axis.legend(fontsize=8, frameon=False, loc="lower left")
    axis.spines[["top", "right"]].set_visible(False)


def embedding_figure(report: dict[str, Any], planes: Planes, coloring: Coloring):
    """A matplotlib figure: the t-SNE of pixels, of A's and of B's features, a color a value."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(12.6, 4.8), layout="constrained", facecolor="white")
    figure.get_layout_engine().set(h_pad=0.12)
    titles = ("pixels", *(f"features of {named(report, which)}" for which in ("a", "b")))
    groups = _groups(coloring)
    for axis, space, title in zip(figure.subplots(1, 3), SPACES, titles, strict=True):
        plane = planes[space]
        axis.set_title(title, fontsize=10)
        axis.set(xticks=[], yticks=[])
        for side in axis.spines.values():
            side.set_color("0.85")
        if plane is None:
            axis.text(0.5, 0.5, "all cases are the same", ha="center", transform=axis.transAxes, color="0.4")
            continue
        for _, color, members in groups:
            axis.scatter(*plane[members].T, s=14 if len(plane) > 150 else 26, color=color, alpha=0.8, linewidths=0)
        axis.set_box_aspect(1)
    style = {"marker": "o", "linestyle": "none", "markersize": 6}
    handles = [Line2D([], [], color=color, label=label, **style) for label, color, _ in groups]
    columns = min(len(handles), 6)
    style = {"fontsize": 8.5, "title_fontsize": 8.5, "frameon": False, "ncols": columns}
    figure.legend(handles=handles, title=coloring.name, loc="outside lower center", **style)
    return figure


def _groups(coloring: Coloring) -> list[tuple[str, Any, np.ndarray]]:
    """(text, color, members) of each group, those without a value and rare ones first, so that they lie below. Numbers
    are in their order and in colors that rise with it.
    """
    from matplotlib import colormaps

    counts = coloring.counts
    frequent = list(counts)[: _MOST_COLORS if len(counts) <= _MOST_COLORS else _MOST_COLORS - 1]
    if coloring.name == LABEL:
        frequent.sort(key=list(_LABELS).index)
        colors = _LABELS
    elif all(is_number(name) for name in frequent):
        frequent.sort(key=float)
        colors = {name: colormaps["plasma"](0.9 * n / max(1, len(frequent) - 1)) for n, name in enumerate(frequent)}
    else:
        frequent.sort()
        colors = {name: colormaps["tab10"](n) for n, name in enumerate(frequent)}
    rest = coloring.known & ~np.isin(coloring.values, frequent)
    groups = [
        (f"nothing known ({int((~coloring.known).sum())})", _UNKNOWN, ~coloring.known),
        (f"{len(counts) - len(frequent)} other values ({int(rest.sum())})", "0.45", rest),
    ]
    named_values = [(f"{name} ({counts[name]})", colors[name], coloring.values == name) for name in frequent]
    return [group for group in groups if group[2].any()] + named_values


def maps_figure(report: dict[str, Any], examples: MapExamples):
    """A matplotlib figure: a few cases as they are, and with the map of each network; its highest part outlined."""
    from matplotlib.figure import Figure

    images = examples.images
    count, share = len(images), report["maps"]["share"]
    figure = Figure(figsize=(2.3 * count + 0.5, 7.3), layout="constrained", facecolor="white")
    grid = figure.subplots(3, count, squeeze=False)
    labels = ("the case", named(report, "a"), named(report, "b"))
    for row, axes in enumerate(grid):
        for column, axis in enumerate(axes):
            axis.set(xticks=[], yticks=[])
            low, high = np.percentile(images[column], [0.5, 99.5])
            across = examples.maps[0].shape[-1]
            where = {"extent": (0, across, across, 0)}
            axis.imshow(images[column], cmap="gray", vmin=low, vmax=max(high, low + 1e-6), **where)
            if row:
                values, part = examples.maps[row - 1][column], examples.parts[row - 1][column]
                scaled = (values - values.min()) / max(float(np.ptp(values)), 1e-12)
                # What is low leaves the case as it is.
                axis.imshow(scaled, cmap="inferno", alpha=0.55 * scaled, **where)
                centers = np.arange(across) + 0.5
                axis.contour(centers, centers, part, levels=[0.5], colors=_OUTLINE, linewidths=1.4)
            if column == 0:
                axis.set_ylabel(labels[row], fontsize=9)
            if row == 0:
                one, two = (parts[column] for parts in examples.parts)
                axis.set_title(f"IoU {(one & two).sum() / (one | two).sum():.2f}", fontsize=9)
    kind = report["maps"]["kind"]
    figure.suptitle(f"{kind[0].upper()}{kind[1:]}; outlined: the highest {share:.0%} of its area", fontsize=10)
    return figure
