"""The picture of a reduction: how many slices stay at which threshold, and how long it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from MAEMCLib.files.atomic import replacing

_COLORS = ("#1f4e79", "#b0651d", "#6a8f3c", "#8a5a9e", "#b23a48")
Curve = Sequence[tuple[float, float]]


def write_figure(path: Path, shares: Mapping[str, Curve], seconds: Mapping[str, Curve], target: float) -> None:
    """Left: the share of slices that stays (0 to 1) against the threshold in bits, 6 marked. Right: seconds against the
    number of slices of 512 x 512, with the line through ``target`` seconds for 300. A curve a name.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(11, 4.2), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    left.axvline(6, color="0.85", linewidth=1, zorder=0)
    _curves(left, shares, 100)
    left.set_xlabel("threshold, bits that may differ")
    left.set_ylabel("slices that stay, %")
    left.set_ylim(0, 104)
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_title("What stays (line: the paper's threshold, 6)", fontsize=10)
    _curves(right, seconds, 1)
    most = max(count for curve in seconds.values() for count, _ in curve)
    right.plot([0, most], [0, target * most / 300], color="0.7", linestyle="--", label=f"{target:g} s for 300")
    right.set_xlim(0, None)
    right.set_ylim(0, None)
    right.set_xlabel("slices of 512 x 512")
    right.set_ylabel("seconds")
    right.set_title("Time", fontsize=10)
    for axis in (left, right):
        axis.legend(fontsize=8, frameon=False)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _curves(axis, curves: Mapping[str, Curve], factor: float) -> None:
    for number, (name, curve) in enumerate(curves.items()):
        x, y = zip(*curve, strict=True)
        color = _COLORS[number % len(_COLORS)]
        axis.plot(x, [factor * value for value in y], color=color, marker="o", markersize=3.5, label=name)
