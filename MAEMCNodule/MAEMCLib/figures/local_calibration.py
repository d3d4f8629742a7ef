"""How a reader's and a model's estimates fared at this place, as a picture."""

from __future__ import annotations

from ..results import DISCLAIMER

_COLORS = {"reader": "#b5651d", "model": "#1f4e79"}


def local_calibration_figure(found, model: str):
    """A matplotlib figure: the reliability diagrams of reader and model side by side, above each bin how many of its
    nodules were malignant.

    found: ``review.local_calibration.LocalCalibration``. model: what the model and its number are called.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 5.6), layout="constrained", facecolor="white")
    titles = {"reader": "reader's own estimate, before the number", "model": model}
    for axis, name in zip(figure.subplots(1, 2, sharey=True), titles, strict=True):
        _reliability(axis, getattr(found, name), titles[name], _COLORS[name])
        if name == "reader":
            axis.set_ylabel("share malignant, 95 % interval (Wilson)", fontsize=9)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    figure.suptitle("Local calibration", fontsize=12)
    figure.supxlabel("\n".join([*found.notes, DISCLAIMER]), fontsize=8, color="0.35")
    return figure


def _reliability(axis, fared, title: str, color: str) -> None:
    axis.plot([0, 1], [0, 1], color="0.75", linewidth=1, linestyle="--")
    axis.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.16), yticks=[0, 0.2, 0.4, 0.6, 0.8, 1])
    axis.set_box_aspect(1)
    axis.tick_params(labelsize=8)
    axis.set_xlabel("estimate", fontsize=9)
    axis.set_title(f"{title}\n{_summary(fared)}", fontsize=9)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    if not fared.bins:
        axis.text(0.5, 0.5, "too few outcomes", ha="center", va="center", color="0.45", backgroundcolor="white")
        return
    means, shares = [one.mean for one in fared.bins], [one.observed for one in fared.bins]
    away = [[one.observed - one.low for one in fared.bins], [one.high - one.observed for one in fared.bins]]
    axis.errorbar(means, shares, yerr=away, fmt="o-", color=color, markersize=5, linewidth=1.2, capsize=3)
    for one in fared.bins:
        axis.annotate(
            f"{one.malignant}/{one.n}",
            (one.mean, one.high),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            va="bottom",
            rotation=90,
            fontsize=8,
            color=color,
        )


def _summary(fared) -> str:
    """``41 nodules, 18 malignant, Brier 0.172, AUC 0.83 (0.70-0.91)``, as far as it is known."""
    text = f"{fared.n} nodules, {fared.malignant} malignant"
    if fared.brier is not None:
        text += f"\nBrier {fared.brier:.3f}"
    if fared.auc is not None:
        text += ", AUC {:.2f} ({:.2f}-{:.2f})".format(*fared.auc)
    return text
