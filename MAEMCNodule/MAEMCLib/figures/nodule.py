"""Figures of a nodule: its slices, their reconstruction, the error, the attention."""

from pathlib import Path

import numpy as np

from ..errors import InputError
from ..machine.terminal import visible
from ..results import DISCLAIMER, NoduleResult
from .planes import EXTENT, show_plane


def nodule_figure(result: NoduleResult, stacks: dict[str, np.ndarray], explanation):
    """A matplotlib figure: a row for each stack through the point; columns seen, reconstructed, error, attention.

    stacks: (25, 50, 50) HU by branch. explanation: ``explain.explanation.Explanation``; without a reconstruction the
    two columns in the middle are left out.
    """
    columns = 4 if explanation.reconstruction else 2
    figure = new_figure(2.7 * columns + 0.6, 2.75 * len(stacks) + 0.6)
    axes = figure.subplots(len(stacks), columns, squeeze=False)
    preprocessing = explanation.card.preprocessing
    window = {"cmap": "gray", "vmin": preprocessing.window_lower, "vmax": preprocessing.window_upper}
    for row, (branch, stack) in enumerate(stacks.items()):
        seen, plane = _middle(stack), "coronal" if branch.endswith("coronal") else "axial"
        show_plane(axes[row, 0], seen, plane, "seen" if row == 0 else "", **window)
        axes[row, 0].set_ylabel(branch, fontsize=11)
        if branch in explanation.attention:
            title = explanation.attention_kind if branch == next(iter(explanation.attention)) else ""
            show_plane(axes[row, -1], seen, plane, title, **window)
            attention = _middle(explanation.attention[branch])
            axes[row, -1].imshow(attention, extent=EXTENT, cmap="inferno", alpha=0.5, vmin=0, vmax=1)
        else:
            axes[row, -1].axis("off")
            axes[row, -1].text(0.5, 0.5, "not seen by\nthe classifier", ha="center", va="center", color="0.35")
        if branch not in explanation.reconstruction:
            continue
        reconstructed, error = (_middle(getattr(explanation, part)[branch]) for part in ("reconstruction", "error"))
        show_plane(axes[row, 1], reconstructed, plane, "reconstructed" if row == 0 else "", **window)
        shown = show_plane(axes[row, 2], error, plane, "error" if row == 0 else "", cmap="magma", vmin=0, vmax=600)
        bar = figure.colorbar(shown, ax=axes[row, 2], shrink=0.7, aspect=30, pad=0.01)
        bar.ax.tick_params(labelsize=7)
        bar.set_label("HU", fontsize=8)
    figure.suptitle(result_title(result), fontsize=11, parse_math=False)
    notice = f"{explanation.notice}\n" if explanation.notice else ""
    figure.supxlabel(f"{notice}50 mm about the point. {DISCLAIMER}", fontsize=8, color="0.35")
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


def _middle(stack: np.ndarray) -> np.ndarray:
    return stack[len(stack) // 2]


def result_title(result: NoduleResult) -> str:
    """The nodule's or picture's name, its probability with the spread, and its class."""
    name = visible(result.nodule_id)
    if result.probability is None:
        return name
    spread = result.spread_text
    return f"{name}: {result.probability:.2f}{f' ({spread})' if spread else ''}, {result.class_name}"
