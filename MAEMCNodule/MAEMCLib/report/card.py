"""A model's card as a report: what ``maemc models show`` prints, and the end of every report of scores."""

from collections.abc import Mapping
from typing import Any

from ..models.card import ModelCard
from .beside import beside_sections
from .formats import render
from .sections import Cell, Metric, Note, Notes, Report, Section, Table

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
POINT_NAMES = {"rule_out": "rule out", "balanced": "balanced", "rule_in": "rule in", "half": "one half"}
"""The operating points for people."""


def card_text(card: ModelCard) -> str:
    """The card for people."""
    return render(Report(card.title, card_sections(card)), "txt")


def card_sections(card: ModelCard) -> list[Section]:
    """What a card says; whatever it does not say is left out."""
    values, training = card.values, card.values.get("training", {})
    at = "" if card.threshold is None else f", at {card.threshold:.3f}"
    baselines = {name: metrics.get("auc") for name, metrics in values.get("baselines", {}).items()}
    software = " ".join(f"{name} {version}" for name, version in values.get("software", {}).items())
    origin = {
        "License": values.get("licence", ""),
        "Attribution": training.get("attribution", ""),
        "Citation": values.get("citation", ""),
        "Made": f"{values.get('created', '')} {software}".strip(),
    }
    sections = [
        Section("", [Note(f"{card.id} {card.version}, SHA-256 {card.sha256}"), _facts(_about(card))]),
        Section(
            f"Measured on the training's own cases, out of fold{at}",
            _metrics({head: values.get("metrics", {}).get(key) for key, head in _metrics_of(card).items()}),
        ),
        _points(card),
        Section("AUC of what it has to beat", _metrics(baselines)),
        *beside_sections(card),
        Section("Notes", [Notes(values["notes"])] if values.get("notes") else []),
        Section("", [_facts(origin)]),
    ]
    return [section for section in sections if section.parts]


def _about(card: ModelCard) -> dict[str, str]:
    values, training = card.values, card.values.get("training", {})
    return {
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
        **card.kind.limits(card),
    }


def _facts(facts: Mapping[str, str]) -> Table:
    return Table([(name, " ".join(str(text).split())) for name, text in facts.items() if text])


def _metrics(metrics: Mapping[str, Any]) -> list[Table]:
    rows: list[tuple[Cell, ...]] = []
    for name, values in metrics.items():
        metric = Metric.of(values)
        if metric is not None and metric.value is not None:
            rows.append((name, metric, f"n = {metric.n}") if metric.n else (name, metric))
    return [Table(rows)] if rows else []


def _metrics_of(card: ModelCard) -> dict[str, str]:
    """Of a model that was trained on readers' ratings no predictive values: of cancer it has none."""
    unsaid = ("ppv", "npv") if card.label_type == "rating" else ()
    return {key: head for key, head in _METRICS.items() if key not in unsaid}


def _protocol(training: dict) -> str:
    if "protocol" not in training:
        return ""
    parts = [f"{training['protocol']}, {training.get('folds', '?')} folds by patient, seed {training.get('seed', '?')}"]
    if training.get("pretraining_of_folds") == "in-fold":
        parts.append("pre-training repeated in each fold")
    if training.get("leaky"):
        parts.append("LEAKY: the pre-training saw patients that were evaluated")
    return "; ".join(parts)


def _network(card: ModelCard) -> str:
    encoder = card.values["architecture"].get("encoder") or {}
    names = ("backbone", "image_size", "patch_size", "width", "depth", "heads")
    shape = ", ".join(f"{name.replace('_', ' ')} {encoder[name]}" for name in names if name in encoder)
    planes = f"; planes: {card.fusion}" if len(card.kind.planes) > 1 else ""
    if graph := card.values["architecture"].get("graph"):
        planes = f"; graph of {', '.join(graph['branches'])} and the clinical values, {graph.get('rounds', 2)} rounds"
    return f"{len(card.members('classifier'))} classifiers: {shape}{planes}"


def _calibration(card: ModelCard) -> str:
    calibration = card.calibration
    prior = card.values.get("training", {}).get("prior_in_probability")
    rated = ", as readers rate them," if card.label_type == "rating" else ""
    assumed = "" if prior is None else f"; a probability assumes a share of malignant cases{rated} of {prior:.3f}"
    if not card.calibration.calibrated:
        return f"none: {calibration.reason or 'no reason stated'}{assumed}"
    fitted = f"slope {calibration.slope:.3f}, intercept {calibration.intercept:.3f}"
    return f"on out-of-fold predictions, {fitted}{assumed}"


def _distances(card: ModelCard) -> str:
    if not card.training_distances:
        return "unknown: the card holds no distances of training cases"
    return f"amber beyond a feature distance of {card.training_distances[95]:.3f}, the training cases' 95th percentile"


def _points(card: ModelCard) -> Section:
    points = card.values.get("operating_points")
    if points:
        heads = ("", "threshold", "TP", "FP", "TN", "FN", "sensitivity", "specificity")
        rows = [
            (POINT_NAMES.get(name, name), point["threshold"], *(point["counts"][key.lower()] for key in heads[2:6]),
             *(Metric.of(point["metrics"][key]) for key in heads[6:]))
            for name, point in points.items()
        ]  # fmt: skip
        return Section("Operating points", [Table(rows, heads)])
    if card.threshold is None:
        return Section("", [])
    names = (f"{POINT_NAMES[name]} {value:.3f}" for name, value in card.thresholds.items())
    return Section("", [Note(f"Thresholds: {', '.join(names)}")])
