"""Figures that explain a nodule's number: its slices, their reconstruction, the error, the maps of places, and the
slices as the model saw them."""

from __future__ import annotations

import numpy as np

from ..networks.configuration import MIDDLE_SLICE, TILES
from ..results import DISCLAIMER, NoduleResult
from .nodule import new_figure, result_title
from .planes import EXTENT, UNKNOWN, show_plane
from .words import worth_caption

FEW = 7
"""Slices that are shown in a row; more are shown as the montage."""
_HEAT = {"extent": EXTENT, "cmap": "inferno", "vmin": 0, "vmax": 1}


def nodule_figure(result: NoduleResult, stacks: dict[str, np.ndarray], explanation):
    """A matplotlib figure: a row for each stack through the point; columns seen, reconstructed, error, where the
    networks look and, where it was measured, what covering a place does; below, a bar over the slices that are tokens.

    stacks: (25, 50, 50) HU by branch. explanation: ``explain.explanation.Explanation``; without a reconstruction its
    two columns are left out.
    """
    rebuilt = ["reconstructed", "error"] if explanation.reconstruction else []
    names = ["seen", *rebuilt, explanation.attention_kind, *(["occlusion"] if explanation.sanity else [])]
    bars = 1 if explanation.slices else 0
    figure = new_figure(2.6 * len(names) + 0.5, 2.85 * len(stacks) + 1.3 * bars + 0.6)
    parts = figure.subfigures(1 + bars, 1, height_ratios=[2.85 * len(stacks), *[1.3] * bars], squeeze=False)[:, 0]
    axes = parts[0].subplots(len(stacks), len(names), squeeze=False)
    for row, (branch, stack) in enumerate(stacks.items()):
        _row(dict(zip(names, axes[row], strict=True)), branch, _middle(stack), explanation, first=row == 0)
    if bars:
        _bars(parts[1].subplots(1, len(explanation.slices), squeeze=False)[0], explanation)
    figure.suptitle(result_title(result), fontsize=11, parse_math=False)
    notice = f"{explanation.notice}\n" if explanation.notice else ""
    figure.supxlabel(f"{notice}50 mm about the point. {DISCLAIMER}", fontsize=8, color="0.35")
    return figure


def seen_figure(explanation):
    """A matplotlib figure of what the networks saw: for each branch the slices that are shown, and below each of them
    where the networks look; more than ``FEW`` as montages, left and right. What was not observed is dark blue."""
    branches = list(explanation.attention)
    shown = explanation.shown
    few = len(shown) <= FEW
    rows, columns = (2 * len(branches), len(shown)) if few else (len(branches), 2)
    side = 1.5 if few else 4.0
    figure = new_figure(side * columns + 0.5, side * rows + 0.6)
    axes = figure.subplots(rows, columns, squeeze=False)
    for number, branch in enumerate(branches):
        seen, heat = explanation.seen[branch], explanation.attention[branch]
        if few:
            for column, index in enumerate(shown):
                top, below = axes[2 * number : 2 * number + 2, column]
                _gray(top, seen[index], explanation)
                _gray(below, seen[index], explanation)
                below.imshow(np.where(np.isfinite(seen[index]), heat[index], np.nan), alpha=0.5, **_HEAT)
                top.set_title(f"{index - MIDDLE_SLICE:+d}" if index != MIDDLE_SLICE else "0", fontsize=8)
            axes[2 * number, 0].set_ylabel(branch, fontsize=9)
            axes[2 * number + 1, 0].set_ylabel(explanation.attention_kind, fontsize=7)
        else:
            left, right = axes[number]
            _gray(left, _montage(seen), explanation)
            _gray(right, _montage(seen), explanation)
            right.imshow(_montage(heat), alpha=0.5, **_HEAT)
            left.set_ylabel(branch, fontsize=9)
            if number == 0:
                left.set_title("as the model saw it", fontsize=9)
                right.set_title(explanation.attention_kind, fontsize=9)
    what = "Slices that the model saw, by their distance from the point.\n" if few else ""
    figure.supxlabel(f"{what}{DISCLAIMER}", fontsize=8, color="0.35")
    return figure


def _row(axes: dict, branch: str, seen: np.ndarray, explanation, first: bool) -> None:
    plane = "coronal" if branch.endswith("coronal") else "axial"
    settings = explanation.card.preprocessing
    window = {"cmap": "gray", "vmin": settings.window_lower, "vmax": settings.window_upper}

    def show(name: str, picture: np.ndarray, **style):
        return show_plane(axes[name], picture, plane, name if first else "", **style)

    show("seen", seen, **window)
    axes["seen"].set_ylabel(branch, fontsize=11)
    if branch in explanation.reconstruction:
        show("reconstructed", _middle(explanation.reconstruction[branch]), **window)
        shown = show("error", _middle(explanation.error[branch]), cmap="magma", vmin=0, vmax=600)
        _scale(shown, axes["error"], "HU")
        axes["error"].set_xlabel(f"mean {explanation.mean_error[branch]:.0f} HU in 25 slices", fontsize=7)
    name = explanation.attention_kind
    if branch not in explanation.attention:
        for axis in (axes[one] for one in (name, "occlusion") if one in axes):
            axis.axis("off")
            axis.text(0.5, 0.5, "not seen by\nthe classifier", ha="center", va="center", color="0.35")
        return
    show(name, seen, **window)
    axes[name].imshow(_middle(explanation.attention[branch]), alpha=0.5, **_HEAT)
    if "occlusion" not in axes:
        return
    *_others, looked, covered = explanation.sanity[branch]
    axes[name].set_xlabel(worth_caption(looked), fontsize=7)
    show("occlusion", seen, **window)
    cells = len(explanation.maps[branch][-1].grid) // TILES
    falls = explanation.maps[branch][-1].grid[:cells, :cells]
    highest = max(float(np.abs(falls).max()), 1e-6)
    style = {"extent": EXTENT, "cmap": "coolwarm", "vmin": -highest, "vmax": highest, "interpolation": "bilinear"}
    _scale(axes["occlusion"].imshow(falls, alpha=0.5, **style), axes["occlusion"], "fall of the probability")
    axes["occlusion"].set_xlabel(worth_caption(covered), fontsize=7)


def _scale(shown, axis, name: str) -> None:
    bar = axis.figure.colorbar(shown, ax=axis, shrink=0.7, aspect=30, pad=0.01)
    bar.ax.tick_params(labelsize=6)
    bar.set_label(name, fontsize=7)


def _bars(axes, explanation) -> None:
    """The share of each slice that is shown."""
    for axis, (branch, weights) in zip(axes, explanation.slices.items(), strict=True):
        shown = list(explanation.shown)
        shares = weights[shown] / max(float(weights[shown].sum()), 1e-12)
        axis.bar([index - MIDDLE_SLICE for index in shown], shares, color="#7aa6c9")
        axis.set_title(f"{branch}: attention rollout over the slices", fontsize=8)
        axis.set_xlabel("slices from the point", fontsize=7)
        axis.set_xticks([index - MIDDLE_SLICE for index in shown][:: 1 if len(shown) <= FEW else 4])
        axis.tick_params(labelsize=7)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)


def _gray(axis, picture: np.ndarray, explanation) -> None:
    settings = explanation.card.preprocessing
    shown = axis.imshow(picture, extent=EXTENT, cmap="gray", vmin=settings.window_lower, vmax=settings.window_upper)
    shown.set_cmap(shown.cmap.with_extremes(bad=UNKNOWN))
    axis.set(xticks=[], yticks=[])


def _montage(stack: np.ndarray) -> np.ndarray:
    """(25, n, n) -> (5 n, 5 n), slices in row-major order."""
    side = stack.shape[-1]
    return stack.reshape(TILES, TILES, side, side).swapaxes(1, 2).reshape(TILES * side, TILES * side)


def _middle(stack: np.ndarray) -> np.ndarray:
    return stack[len(stack) // 2]
