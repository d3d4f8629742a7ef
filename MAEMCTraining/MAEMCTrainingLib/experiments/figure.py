"""The figure of an experiment: what more labels bring, and what more time brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from MAEMCLib.files.atomic import replacing

from .tables import Row

_COLORS = (
    "#1f4e79", "#b0651d", "#6a8f3c", "#8a5a9e", "#b23a48", "#3c8f8f", "#7a6a4f", "0.4", "#d08aa8", "#5b8def", "#a8a100",
    "#2e6e4e", "#c97f4f",
)  # fmt: skip


_FROZEN = (", frozen", ", linear probe")


def _subject(name: str) -> str:
    """What shares a color: the frozen and the fine-tuned row of one method."""
    return name.removesuffix(", fine-tuned").removesuffix(_FROZEN[0]).removesuffix(_FROZEN[1])


def write_figure(path: Path, rows: Sequence[Row], curves: Mapping[str, Sequence[Mapping]]) -> None:
    """Left: AUC with intervals against the number of labels, baselines as lines. Right: the AUC of the folds'
    validation parts (mean over folds) against the share of the training's steps. Frozen encoders have open circles.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.6), layout="constrained", facecolor="white")
    labels, time = figure.subplots(1, 2)
    names = list(dict.fromkeys(row.row for row in rows))
    counts = sorted({row.labels for row in rows}, key=lambda count: (count == "all", count))
    trained = list(dict.fromkeys(row.row for row in rows if row.job))
    subjects = list(dict.fromkeys(_subject(name) for name in trained))
    for number, name in enumerate(trained):
        color = _COLORS[subjects.index(_subject(name)) % len(_COLORS)]
        face = "white" if name.endswith(_FROZEN) else color
        own = [row for row in rows if row.row == name]
        places = np.array([counts.index(row.labels) for row in own]) + 0.06 * (number - len(trained) / 2)
        auc, low, high = np.array([[row.auc.value, row.auc.low, row.auc.high] for row in own], dtype=float).T
        labels.errorbar(
            places,
            auc,
            [auc - low, high - auc],
            color=color,
            marker="o",
            markersize=4,
            markerfacecolor=face,
            capsize=2,
            label=name,
        )
        if curves.get(name):
            time.plot(*_mean_curve(curves[name]), color=color, label=name)
    for name, style in zip([name for name in names if name not in trained], ("--", ":", "-."), strict=False):
        value = next(row.auc.value for row in rows if row.row == name)
        labels.axhline(value, color="0.5", linestyle=style, linewidth=1, label=f"{name}, all labels")
    labels.set_xticks(range(len(counts)), [str(count) for count in counts])
    labels.set_xlim(-0.5, len(counts) - 0.5)
    labels.set_xlabel("labeled cases in a fold's training part")
    labels.set_ylabel("out-of-fold AUC, 95 % interval")
    time.set_xlabel("share of the training's steps, all labels")
    time.set_ylabel("AUC on the validation parts, mean of the folds")
    for axis in (labels, time):
        axis.set_ylim(0.3, 1.02)
        axis.axhline(0.5, color="0.85", linewidth=1, zorder=0)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    handles, texts = labels.get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside right center", fontsize=8, frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _mean_curve(events: Sequence[Mapping]) -> tuple[np.ndarray, np.ndarray]:
    """Share of the steps and the folds' mean validation AUC; a fold that ended early keeps its last value."""
    folds = sorted({event["fold"] for event in events})
    last = max(event["epoch"] for event in events)
    values = np.full((len(folds), last + 1), np.nan)
    for event in events:
        values[folds.index(event["fold"]), event["epoch"]] = event.get("auc", np.nan)
    for before, present in pairwise(values.T):
        np.copyto(present, before, where=np.isnan(present))
    return np.arange(1, last + 2) / (last + 1), values.mean(axis=0)
