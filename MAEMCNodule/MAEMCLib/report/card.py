"""A model's card as text: what ``maemc models show`` prints."""

from __future__ import annotations

import textwrap

from ..machine.terminal import visible
from ..models.card import ModelCard
from ..results import DISCLAIMER

_METRICS = {
    "macro_auc": "Macro AUC",
    "macro_f1": "Macro F1",
    "auc": "AUC",
    "auc_within_folds": "AUC within folds",
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "balanced_accuracy": "Balanced accuracy",
    "brier": "Brier score",
    "ece": "ECE",
    "calibration_slope": "Calibration slope",
    "calibration_intercept": "Calibration intercept",
}
_POINTS = {"rule_out": "rule out", "balanced": "balanced", "rule_in": "rule in", "half": "one half"}
_LABEL, _WIDTH = 29, 120


def card_text(card: ModelCard) -> str:
    """The card for people; whatever a card does not say is left out."""
    values = card.values
    training = values.get("training", {})
    lines = [visible(card.title), visible(f"{card.id} {card.version}, SHA-256 {card.sha256}"), DISCLAIMER, ""]
    lines += _facts(
        {
            "Intended use": values["intended_use"],
            "Limits": values.get("limitations", ""),
            "Trained": training.get("summary", ""),
            "Data": training.get("data", ""),
            "Protocol": _protocol(training),
            "Network": _network(card),
            "Classes": ", ".join(card.classes) if len(card.classes) > 2 else "",
            "Asks for": ", ".join(f"{c.described()}{' (optional)' * c.optional}" for c in card.clinical),
            "Calibration": _calibration(card),
            "Out of distribution": _distances(card),
            "Reference case": "" if card.reference else "unverified: nothing shows whether it is computed right here",
            **_scored(card),
        }
    )
    if values.get("metrics"):
        at = "" if card.threshold is None else f", at {card.threshold:.3f}"
        lines += ["", f"Measured on the training's own cases, out of fold{at}"]
        lines += _facts({head: _metric(values["metrics"].get(key)) for key, head in _METRICS.items()})
    if values.get("operating_points"):
        lines += ["", "Operating points", *_points(values["operating_points"])]
    elif card.threshold is not None:
        names = (f"{_POINTS[name]} {values['thresholds'][name]:.3f}" for name in ("rule_out", "balanced", "rule_in"))
        lines += ["", f"Thresholds: {', '.join(names)}"]
    baselines = {name: _metric(metrics.get("auc")) for name, metrics in values.get("baselines", {}).items()}
    if baselines:
        lines += ["", "AUC of what it has to beat", *_facts(baselines)]
    if values.get("notes"):
        lines += ["", "Notes", *(_wrapped(note, "- ") for note in values["notes"])]
    software = ", ".join(f"{name} {version}" for name, version in values.get("software", {}).items())
    lines += [""]
    lines += _facts(
        {
            "Licence": values.get("licence", ""),
            "Attribution": training.get("attribution", ""),
            "Citation": values.get("citation", ""),
            "Made": f"{values.get('created', '')} {software}".strip(),
        }
    )
    return "\n".join(lines).rstrip()


def _facts(facts: dict[str, str]) -> list[str]:
    return [_wrapped(text, f"{name:<{_LABEL - 2}}  ") for name, text in facts.items() if text]


def _wrapped(text: str, first: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=first, subsequent_indent=" " * len(first))


def _protocol(training: dict) -> str:
    if "protocol" not in training:
        return ""
    parts = [f"{training['protocol']}, {training.get('folds', '?')} folds by patient, seed {training.get('seed', '?')}"]
    how = training.get("pretraining_of_folds")
    if how == "in-fold":
        parts.append("pre-training repeated in each fold")
    if training.get("leaky"):
        parts.append("LEAKY: the pre-training saw patients that were evaluated")
    return "; ".join(parts)


def _scored(card: ModelCard) -> dict[str, str]:
    """What the model takes: nodules of a size, or pictures."""
    if card.input == "picture":
        prepared = card.preprocessing
        share = "" if prepared.view_share == 1 else f", of them the middle {prepared.view_share:.0%} of the longer side"
        return {"Pictures": f"2-D, seen at {prepared.image_size} x {prepared.image_size} pixels{share}"}
    return {"Nodules": f"{card.limits.smallest_diameter_mm:g} to {card.limits.largest_diameter_mm:g} mm"}


def _network(card: ModelCard) -> str:
    encoder = card.values["architecture"].get("encoder") or {}
    names = ("backbone", "image_size", "patch_size", "width", "depth", "heads")
    shape = ", ".join(f"{name.replace('_', ' ')} {encoder[name]}" for name in names if name in encoder)
    planes = "" if card.input == "picture" else f"; planes: {card.fusion}"
    if graph := card.values["architecture"].get("graph"):
        planes = f"; graph of {', '.join(graph['branches'])} and the clinical values, {graph.get('rounds', 2)} rounds"
    return f"{len(card.members('classifier'))} classifiers: {shape}{planes}"


def _calibration(card: ModelCard) -> str:
    calibration = card.values["calibration"]
    prior = card.values.get("training", {}).get("prior_in_probability")
    assumed = "" if prior is None else f"; a probability assumes a share of malignant cases of {prior:.3f}"
    if not card.calibrated:
        return f"none: {calibration.get('reason', 'no reason stated')}{assumed}"
    fitted = f"slope {calibration['slope']:.3f}, intercept {calibration['intercept']:.3f}"
    return f"on out-of-fold predictions, {fitted}{assumed}"


def _distances(card: ModelCard) -> str:
    if not card.training_distances:
        return "not told: the card holds no distances of training cases"
    return f"amber beyond a feature distance of {card.training_distances[95]:.3f}, the training cases' 95th percentile"


def _points(points: dict) -> list[str]:
    lines = [f"{'':<10}{'threshold':>10}{'TP':>6}{'FP':>6}{'TN':>6}{'FN':>6}  {'sensitivity':<24}specificity"]
    for name, point in points.items():
        counts = "".join(f"{point['counts'][key]:>6}" for key in ("tp", "fp", "tn", "fn"))
        rates = (_metric(point["metrics"][key], with_n=False) for key in ("sensitivity", "specificity"))
        lines.append(
            f"{_POINTS.get(name, name):<10}{point['threshold']:>10.3f}{counts}  {next(rates):<24}{next(rates)}"
        )
    return lines


def _metric(metric: dict | None, with_n: bool = True) -> str:
    if not metric or metric.get("value") is None:
        return ""
    text = f"{metric['value']:.3f}"
    if metric.get("low") is not None:
        text += f" ({metric['low']:.3f} to {metric['high']:.3f})"
    return f"{text}, n = {metric['n']}" if with_n and metric.get("n") else text
