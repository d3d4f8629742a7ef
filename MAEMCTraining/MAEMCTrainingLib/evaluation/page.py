"""report.html: one self-contained page of an evaluation. Nothing in it is loaded from elsewhere."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from MAEMCLib.files.atomic import replacing
from MAEMCLib.results import DISCLAIMER

from ..classifiers.protocol import UNKNOWN, UNKNOWN_PATIENTS
from ..jobs.events import read_event
from .figures import evaluation_figure, learning_figure
from .html import page, picture, png_of
from .html import table as html_table
from .manifest_parts import parts_as_html
from .predictions import PredictionTable
from .tables import cell, difference_text, distinct_points

_RANKING = {"auc": "AUC", "auc_within_folds": "AUC within folds"}
_RATES = {
    "accuracy": "ACC",
    "sensitivity": "SEN",
    "specificity": "SPE",
    "ppv": "PPV",
    "npv": "NPV",
    "balanced_accuracy": "Balanced ACC",
}
_PROBABILITY = {
    "brier": "Brier",
    "ece": "ECE",
    "ece_if_calibrated": "ECE if calibrated",
    "calibration_slope": "Calibration slope",
    "calibration_intercept": "Intercept",
}


def write_page(path: Path, report: dict[str, Any], table: PredictionTable, events: Path | None = None) -> None:
    """Write the page of a report as metrics.json holds it. events: events.jsonl of the job. Raises InputError."""
    learning = learning_figure(_read_events(events)) if events is not None else None
    parts = [
        f"<h1>Evaluation of {escape(report['subject'])}</h1>",
        f"<p class='soft'>{escape(_what(report))}</p>",
        f"<p class='notice'>{DISCLAIMER}</p>",
        *(f"<p class='{style}'>{escape(text)}</p>" for style, text in _warnings(report)),
        _facts(report),
        picture(png_of(evaluation_figure(report, table)), "ROC, reliability, probabilities"),
        "<h2>Does it rank malignant above benign?</h2>",
        _ranking(report),
        "<h2>Operating points</h2>",
        _points(report),
        *_beside_baselines(report),
        "<h2>Are the probabilities right?</h2>",
        _calibration(report),
    ]
    if learning is not None:
        parts += ["<h2>Learning</h2>", picture(png_of(learning), "learning curves", "small")]
    parts += parts_as_html(report.get("parts", {}))
    if report.get("per_fold"):
        parts += ["<h2>Folds</h2>", _folds(report)]
    parts += ["<h2>Notes</h2>", "<ul>", *(f"<li>{escape(note)}</li>" for note in report["notes"]), "</ul>"]
    parts += [f"<p class='notice'>{DISCLAIMER}</p>"]
    with replacing(path) as temporary:
        temporary.write_text(page("MAEMC evaluation", parts), encoding="utf-8")


def _what(report: dict[str, Any]) -> str:
    if report["evaluation"] == "out-of-fold":
        return f"Out of fold: each case is scored by the model of {report['folds']} that did not see its patient."
    if report["evaluation"] == "other data":
        return "Other data, scored with the whole model."
    return f"The manifest's {report['evaluation']}, scored by the model that its other rows trained and chose."


def _warnings(report: dict[str, Any]) -> list[tuple[str, str]]:
    """(style, text) of what a reader must know before the first number."""
    warnings = []
    if report.get("leaky"):
        text = "LEAKY: the pre-training saw patients that are evaluated here. The figures are too good."
        warnings.append(("leaky", text))
    if report.get("pretraining") == UNKNOWN:
        warnings.append(("notice", UNKNOWN_PATIENTS))
    overlap = report.get("overlap", {"state": "none"})
    if overlap["state"] != "none":
        warnings.append(("leaky" if overlap["state"] == "known" else "notice", overlap["text"]))
    return warnings


def _facts(report: dict[str, Any]) -> str:
    training = report.get("training", {})
    rows = [
        (
            "Cases",
            f"{report['cases']} of {report['patients']} patients: {report['malignant']} malignant, "
            f"{report['benign']} benign",
        )
    ]
    if "protocol" in report:
        folds = f"{report['folds']} folds by patient" if report["folds"] > 1 else "one model"
        rows += [("Protocol", f"{report['protocol']}, {folds}"), *_job_facts(report)]
    rows += report.get("facts", [])
    software = training.get("software", {})
    if software:
        rows.append(("Software", ", ".join(f"{name} {value}" for name, value in software.items())))
    return html_table((), rows)


def _job_facts(report: dict[str, Any]) -> list[tuple[str, str]]:
    training = report["training"]
    encoder = training["encoder"]
    how = {
        None: "none: trained from scratch",
        "given": f"{training['from']}, the same for all folds",
        "unknown": f"{training['from']}, a model that was trained before",
        "in-fold": f"settings of {training['from']}, repeated in each fold without the patients it tests",
    }
    method = f"whole network, up to {training['epochs']} epochs, batch {training['batch']}"
    if training["linear_probe"]:
        method = "linear probe on the frozen encoder"
    limited = f", at most {training['labeled_cases']} labeled cases a fold" if training["labeled_cases"] else ""
    return [
        ("Pre-training", how.get(report["pretraining"], str(report["pretraining"]))),
        (
            "Fine-tuning",
            f"{method}{limited}; planes {training['fusion']}, "
            f"{'class weights' if training['class_weights'] else 'no class weights'}, seed {training['seed']}",
        ),
        ("Network", _network(encoder)),
    ]


def _network(encoder: dict[str, Any]) -> str:
    if "backbone" in encoder:
        stem = "" if encoder["stem"] == "standard" else f", {encoder['stem']} stem"
        return f"{encoder['backbone']}{stem}, images of {encoder['image_size']} pixels"
    shape = ", ".join(f"{key.removesuffix('_size')} {encoder[key]}" for key in ("patch_size", "width", "depth"))
    return f"ViT, {shape}, {encoder['heads']} heads"


def _ranking(report: dict[str, Any]) -> str:
    columns = _present(report, _RANKING)
    rows = [("this model", *(cell(report["metrics"].get(key)) for key in columns), "")]
    for name, metrics in report["baselines"].items():
        rows.append((name, *(cell(metrics.get(key)) for key in columns), difference_text(report["comparisons"][name])))
    heads = ("", *columns.values(), "This model's AUC minus that of the baseline")
    missing = "".join(
        f"<p class='soft'>No baseline '{escape(name)}': {escape(reason)}.</p>"
        for name, reason in report["baselines_unavailable"].items()
    )
    return html_table(heads, rows) + missing


def _points(report: dict[str, Any]) -> str:
    rows = []
    shown_rates = {key: head for key, head in _RATES.items() if key != "balanced_accuracy"}
    for name, point in distinct_points(report):
        counts, rates = point["counts"], point["metrics"]
        numbers = (str(counts[key]) for key in ("tp", "fp", "tn", "fn"))
        shown = [cell(rates[key]) for key in shown_rates]
        rows.append((name, f"{point['threshold']:.3f}", *numbers, *shown))
    heads = ("", "Threshold", "TP", "FP", "TN", "FN", *shown_rates.values())
    explained = "Positive is malignant. No threshold was chosen from data: all are 0.5."
    if len(set(report["thresholds"].values())) > 1:
        explained = (
            "Positive is malignant. Rule out: sensitivity of at least 0.95; rule in: specificity of at least 0.95; "
            "balanced: the highest sum of both. Chosen on validation cases, so the rates here may fall short of that."
        )
    return f"<p class='soft'>{explained}</p>{html_table(heads, rows)}"


def _beside_baselines(report: dict[str, Any]) -> list[str]:
    baselines = {name: metrics for name, metrics in report["baselines"].items() if "accuracy" in metrics}
    if not baselines:
        return []
    rows = [
        (name, *(cell(metrics[key]) for key in _RATES))
        for name, metrics in (("this model", report["metrics"]), *baselines.items())
    ]
    explained = f"This model at its balanced threshold, {report['thresholds']['balanced']:.3f}; the baselines at 0.5."
    return [
        "<h2>Classes beside the baselines</h2>",
        f"<p class='soft'>{explained}</p>",
        html_table(("", *_RATES.values()), rows),
    ]


def _calibration(report: dict[str, Any]) -> str:
    calibration = report["calibration"]
    if calibration["calibrated"]:
        text = (
            f"Calibrated: logit p' = {calibration['slope']:.3f} logit p {calibration['intercept']:+.3f} (Platt). "
            f"Assumed share of malignant cases: {report['prior_in_probability']:.3f}."
        )
    else:
        text = f"Not calibrated: {calibration.get('reason', 'no reason is stated')}."
    rows = [("this model", *(cell(report["metrics"].get(key)) for key in _PROBABILITY))]
    if "before_calibration" in report:
        rows.append(("before calibration", *(cell(report["before_calibration"].get(key)) for key in _PROBABILITY)))
    rows += [
        (name, *(cell(metrics.get(key)) for key in _PROBABILITY))
        for name, metrics in report["baselines"].items()
        if "brier" in metrics
    ]
    bins = [
        (
            f"{row['from']:.3f} to {row['to']:.3f}",
            str(row["n"]),
            f"{row['mean_probability']:.3f}",
            str(row["malignant"]),
            f"{row['observed']:.3f} ({row['low']:.2f}-{row['high']:.2f})",
        )
        for row in report["reliability"]
    ]
    heads = ("Probability", "Cases", "Mean probability", "Malignant", "Observed share (95 %)")
    return (
        f"<p>{escape(text)}</p>{html_table(('', *_PROBABILITY.values()), rows)}"
        f"<p class='soft'>A calibrated model has slope 1 and intercept 0. ECE: over {len(bins)} bins of equally many "
        f"cases; its interval lies too high, as resampling adds noise to each bin. Beside it the ECE that the same "
        f"probabilities would have on as many cases if they were right.</p>{html_table(heads, bins)}"
    )


def _folds(report: dict[str, Any]) -> str:
    rows = [
        (
            str(row["fold"] + 1),
            str(row["cases"]),
            str(row["malignant"]),
            "-" if row["auc"] is None else f"{row['auc']:.3f}",
        )
        for row in report["per_fold"]
    ]
    return html_table(("Fold", "Cases tested", "Malignant", "AUC"), rows)


def _present(report: dict[str, Any], columns: dict[str, str]) -> dict[str, str]:
    return {key: head for key, head in columns.items() if key in report["metrics"]}


def _read_events(path: Path) -> list[dict[str, Any]]:
    """The events of a job; a line cut off by a crash, or a job that has none, is no reason to stop."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    return [event for line in lines if (event := read_event(line)) is not None]
