"""Pictures of an evaluation: ROC curves, reliability, probabilities by class, learning curves."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from MAEMCLib.report.card import POINT_NAMES

from .evaluation import Evaluation
from .predictions import PredictionTable, second_of

_MODEL, _OTHERS = "#1f4e79", ("#b0651d", "#6a8f3c", "#8a5a9e", "#b23a48", "0.55")
_COLORS = ("#7aa6c9", "#b23a48")
_POINTS = {"rule_out": "v", "balanced": "o", "rule_in": "^"}


def roc_curve(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates from (0, 0) to (1, 1), a point for each distinct score, highest first."""
    sick, well = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    levels = np.unique(scores)[::-1]
    reached = [1 - np.searchsorted(values, levels) / len(values) for values in (well, sick)]
    return tuple(np.concatenate([[0.0], rates]) for rates in reached)


def evaluation_figure(found: Evaluation, table: PredictionTable):
    """A matplotlib figure: ROC curves with the operating points, the reliability diagram, probabilities by class."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.2, 4.5), layout="constrained", facecolor="white")
    roc, calibration, classes = figure.subplots(1, 3)
    _roc(roc, found, table)
    _reliability(calibration, found)
    _classes(classes, found, table)
    return figure


def _label(axis, title: str, x: str, y: str) -> None:
    axis.set_title(title, fontsize=10)
    axis.set_xlabel(x, fontsize=9)
    axis.set_ylabel(y, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def _points_at(places: Mapping[str, Any]) -> list[tuple[Any, str, str]]:
    """(place, first name, text) of the operating points at each place, of which several may share one."""
    return [
        (place, names[0], " = ".join(POINT_NAMES[name] for name in names))
        for place in dict.fromkeys(places.values())
        if (names := [name for name, own in places.items() if own == place])
    ]


def _roc(axis, found: Evaluation, table: PredictionTable) -> None:
    axis.plot([0, 1], [0, 1], color="0.85", linewidth=1)
    key = "macro_auc" if found.macro else "auc"
    scores = {name: second_of(table.others[name]) for name in found.baselines}
    others = [(name, values) for name, values in scores.items() if len(np.unique(values)) > 1]
    for (name, values), color in zip(others, _OTHERS, strict=False):
        value = found.baselines[name][key].value
        axis.plot(*roc_curve(table.labels, values), color=color, linewidth=1, label=f"{name} {value:.2f}")
    label = f"this model {found.metrics[key].value:.2f}"
    axis.plot(*roc_curve(table.labels, table.scores[:, 1]), color=_MODEL, linewidth=2.2, label=label)
    rates = {name: found.decisions.operating_points[name].metrics for name in _POINTS}
    places = {name: (1 - own["specificity"].value, own["sensitivity"].value) for name, own in rates.items()}
    style = {"color": _MODEL, "markersize": 8, "markeredgecolor": "white", "clip_on": False}
    for (x, y), name, text in _points_at(places):
        axis.plot([x], [y], _POINTS[name], label=text, linestyle="none", zorder=5, **style)
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    _label(axis, "ROC (AUC)", "1 - specificity", "sensitivity")
    axis.legend(fontsize=7, loc="lower right", frameon=False)


def _reliability(axis, found: Evaluation) -> None:
    bins = found.decisions.reliability
    axis.plot([0, 1], [0, 1], color="0.85", linewidth=1)
    x = [row["mean_probability"] for row in bins]
    y = [row["observed"] for row in bins]
    reach = [[row["observed"] - row["low"] for row in bins], [row["high"] - row["observed"] for row in bins]]
    axis.errorbar(x, y, yerr=reach, fmt="o-", color=_MODEL, ecolor="0.65", elinewidth=1, capsize=2, markersize=5)
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    state = "calibrated" if found.decisions.calibration.calibrated else "not calibrated"
    sizes = sorted({row["n"] for row in bins})
    count = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    share = f"observed share of {_names(found)[1]} cases"
    _label(axis, f"Reliability, {state} (bins of {count} cases)", "mean probability of the bin", share)


def _classes(axis, found: Evaluation, table: PredictionTable) -> None:
    edges = np.linspace(0, 1, 21)
    groups = [table.probabilities[table.labels == label, 1] for label in range(2)]
    names = [f"{name} ({len(values)})" for name, values in zip(_names(found), groups, strict=True)]
    axis.hist(groups, edges, color=_COLORS, label=names)
    styles = dict(zip(_POINTS, (":", "-", "--"), strict=True))
    for value, name, text in _points_at({name: found.decisions.thresholds[name] for name in _POINTS}):
        style = {"color": "0.25", "linewidth": 1, "linestyle": styles[name]}
        axis.axvline(value, ymax=0.78, label=f"{text} {value:.2f}", **style)
    axis.set(xlim=(0, 1), ylim=(0, 1.32 * axis.get_ylim()[1]))  # room for the legend
    _label(axis, "Probabilities by class", f"probability of the class {_names(found)[1]}", "cases")
    axis.legend(fontsize=7, frameon=False, ncols=2, loc="upper center")


def _names(found: Evaluation) -> list[str]:
    return [name.removesuffix("-like") for name in found.classes]


def learning_figure(events: list[dict[str, Any]]):
    """A matplotlib figure of the losses by epoch, a color a fold; None where no training was recorded.

    The left axis is the pre-training inside the folds, where there was one.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    events = [event for event in events if not event.get("variant")]  # of the model itself
    phases = [(phase, title) for phase, title in _PHASES.items() if _steps(events, phase)]
    if not phases:
        return None
    figure = Figure(figsize=(6.6 * len(phases), 3.6), layout="constrained", facecolor="white")
    folds = sorted({event["fold"] for event in events if "fold" in event})
    colors = {fold: colormaps["tab10"](number % 10) for number, fold in enumerate(folds)}
    for axis, (phase, title) in zip(figure.subplots(1, len(phases), squeeze=False)[0], phases, strict=True):
        for fold in folds:
            _losses(axis, [event for event in events if event.get("fold") == fold], phase, fold, colors[fold])
        _label(axis, title, "epoch", "loss")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=7, frameon=False, ncols=2)
    return figure


_PHASES = {
    "pretrain": "Pre-training in the folds: training loss",
    "finetune": "Fine-tuning: training (thin) and validation loss, the dot is the epoch kept",
}


def _steps(events: list[dict[str, Any]], phase: str) -> list[dict[str, Any]]:
    return [event for event in events if event.get("phase") == phase and "loss" in event and "epoch" in event]


def _losses(axis, events: list[dict[str, Any]], phase: str, fold: int, color) -> None:
    trained = _steps(events, phase)
    if trained:
        epochs = np.array([event["epoch"] for event in trained])
        losses = np.array([event["loss"] for event in trained], dtype=float)
        shown = np.unique(epochs)
        means = [losses[epochs == epoch].mean() for epoch in shown]
        alone = phase == "pretrain"
        label = f"fold {fold + 1}" if alone else None
        axis.plot(shown + 1, means, color=color, linewidth=1.4 if alone else 0.8, alpha=0.6, label=label)
    validated = [event for event in events if event.get("phase") == "validation" and "loss" in event]
    if phase == "finetune" and validated:
        x, y = [event["epoch"] + 1 for event in validated], [event["loss"] for event in validated]
        axis.plot(x, y, color=color, linewidth=1.6, label=f"fold {fold + 1}")
        best = int(np.argmin(y))
        axis.plot([x[best]], [y[best]], "o", color=color, markersize=5)
