"""The figure of a table without labels to vary: each figure of each row as a point with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from MAEMCLib.files.atomic import replacing
from MAEMCLib.report.sections import Metric
from MAEMCLib.results import DISCLAIMER

_TRAINED, _BESIDE = "#1f4e79", "0.55"


def write_ranges(path: Path, panels: Mapping[str, Mapping[str, Metric | None]], note: str, trained: int) -> None:
    """panels: {title: {row: metric}}, the same rows in each. trained: how many of the rows, from the first, are the
    table's own; the others, which they have to beat, are gray."""
    from matplotlib.figure import Figure

    names = list(next(iter(panels.values())))
    figure = Figure(figsize=(3.6 * len(panels) + 2.4, 1.5 + 0.36 * len(names)), layout="constrained", facecolor="white")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (title, metrics) in zip(axes, panels.items(), strict=True):
        for place, name in enumerate(names):
            metric = metrics[name]
            if metric is None or metric.value is None:
                continue
            color = _TRAINED if place < trained else _BESIDE
            if metric.low is not None:
                axis.plot([metric.low, metric.high], [place, place], color=color, linewidth=2)
            axis.plot(metric.value, place, "o", color=color, markersize=6)
            text = f"{metric.value:.1f}" if abs(metric.value) > 2 else f"{metric.value:.3f}"
            axis.annotate(text, (metric.value, place), (0, 5), textcoords="offset points",
                          ha="center", va="bottom", fontsize=8, color=color)  # fmt: skip
        axis.set_title(title, fontsize=10)
        axis.grid(axis="x", color="0.92")
        axis.tick_params(axis="y", length=0)
        for side in ("top", "right", "left"):
            axis.spines[side].set_visible(False)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.7)
    figure.supxlabel(f"{note} {DISCLAIMER}", fontsize=8, color="0.35")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
