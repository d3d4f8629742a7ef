"""An evaluation as a report: for the terminal, and as report.html with its figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from MAEMCLib.files.atomic import write_json
from MAEMCLib.report.formats import write_report
from MAEMCLib.report.sections import OWN, Cell, Difference, Figure, Note, Notes, Part, Report, Section, Table

from ..classifiers.starting_point import UNKNOWN, UNKNOWN_PATIENTS
from ..data.cases import TEST, VALIDATION
from ..jobs.files import read_events
from ..statistics.metrics import Comparison
from ..statistics.operating_points import OperatingPoint
from .evaluation import DataFacts, Evaluation, Metrics, counted
from .figures import POINT_NAMES, evaluation_figure, learning_figure
from .predictions import PredictionTable

MACRO = {"macro_auc": "macro AUC", "accuracy": "ACC", "macro_f1": "macro F1", "balanced_accuracy": "balanced ACC"}
"""The figures of several classes, by their keys."""
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
_OF_A_PART = {"auc": "AUC", "accuracy": "ACC", "sensitivity": "SEN", "specificity": "SPE", "brier": "Brier"}
_TITLES = {TEST: "Test rows of the manifest", VALIDATION: "Validation rows of the manifest"}


def write_evaluation(found: Evaluation, table: PredictionTable, output: Path, job: Path | None = None) -> None:
    """predictions.csv, report.html and metrics.json in a folder. job: as ``evaluation_report``."""
    table.write(output / "predictions.csv")
    metrics, report = found.to_json(), evaluation_report(found, table, job)
    write_report(report, output / "report.html")
    write_json(output / "metrics.json", metrics)


def evaluation_report(found: Evaluation, table: PredictionTable | None = None, job: Path | None = None) -> Report:
    """table: for the figures. job: the job's folder, for the learning curves."""
    two = found.of_two_classes is not None
    sections = [_head(found, table if two else None), _ranking(found)]
    sections += _classes(found) if found.macro else []
    sections += [_points(found)] if two else []
    sections += [] if found.macro else _rates(found)
    sections += _probabilities(found) if two else []
    learning = learning_figure(read_events(job)) if job is not None else None
    if learning is not None:
        sections.append(Section("Learning", [Figure.drawn(learning, "learning curves", "small")]))
    sections += _parts(found)
    if found.data is not None:
        sections += _like_size(found.data) + _groups(found.data) + _clicks(found.data)
    if found.job is not None:
        sections.append(_folds(found))
    return Report(f"Evaluation of {found.subject}", [*sections, Section("Notes", [Notes(found.notes)])])


def _head(found: Evaluation, table: PredictionTable | None) -> Section:
    cases = f"{found.cases} cases of {found.patients} patients ({counted(found.classes)})"
    parts: list[Part] = [Note(f"{cases}. {_what(found)}", "soft"), *_warnings(found), Table(_facts(found))]
    if table is not None:
        parts.append(Figure.drawn(evaluation_figure(found, table), "ROC, reliability, probabilities"))
    return Section("", [part for part in parts if not isinstance(part, Table) or part.rows])


def _what(found: Evaluation) -> str:
    if found.job is None:
        return "Other data, scored with the whole model."
    if found.evaluation == "out-of-fold":
        return f"Out of fold: each case is scored by the model of {found.job.folds} that did not see its patient."
    return f"The manifest's {found.evaluation}, scored by the model that its other rows trained and chose."


def _warnings(found: Evaluation) -> list[Note]:
    """What a reader must know before the first number."""
    warnings = []
    if found.leaky:
        text = "LEAKY: the pre-training saw patients that are evaluated here. The figures are too good."
        warnings.append(Note(text, "leaky"))
    if found.job is not None and found.job.pretraining == UNKNOWN:
        warnings.append(Note(UNKNOWN_PATIENTS, "notice"))
    if found.data is not None and found.data.overlap["state"] != "none":
        known = found.data.overlap["state"] == "known"
        warnings.append(Note(found.data.overlap["text"], "leaky" if known else "notice"))
    return warnings


def _facts(found: Evaluation) -> list[tuple[str, str]]:
    if found.job is None:
        return list(found.data.facts)
    job, training = found.job, found.job.training
    start = training["from"]
    how = {
        None: "none: trained from scratch",
        "given": f"{start}, the same for all folds",
        "unknown": f"{start}, a model that was trained before",
        "in-fold": f"settings of {start}, repeated in each fold without the patients it tests",
    }
    method = f"whole network, up to {training['epochs']} epochs, batch {training['batch']}"
    if training.get("linear_probe"):
        method = "linear probe on the frozen encoder"
    if limit := training.get("labeled_cases"):
        method += f", at most {limit} labeled cases a fold"
    planes = f"; planes {training['fusion']}" if "fusion" in training else ""
    weights = "class weights" if training["class_weights"] else "no class weights"
    rows = [
        ("Protocol", f"{job.protocol}, {f'{job.folds} folds by patient' if job.folds > 1 else 'one model'}"),
        ("Pre-training", how.get(job.pretraining, str(job.pretraining))),
        ("Training", f"{method}{planes}, {weights}, seed {training['seed']}"),
        ("Network", _network(training["encoder"])),
        ("Images", ", ".join(job.seen)),
        ("Clinical values", ", ".join(job.given)),
        ("Software", ", ".join(f"{name} {value}" for name, value in training["software"].items())),
    ]
    return [(name, text) for name, text in rows if text]


def _network(encoder: Mapping[str, Any]) -> str:
    if "backbone" in encoder:
        stem = "" if encoder["stem"] == "standard" else f", {encoder['stem']} stem"
        return f"{encoder['backbone']}{stem}, images of {encoder['image_size']} pixels"
    shape = ", ".join(f"{key.removesuffix('_size')} {encoder[key]}" for key in ("patch_size", "width", "depth"))
    return f"ViT, {shape}, {encoder['heads']} heads"


def _rows(rows: Mapping[str, Metrics], columns: Mapping[str, str]) -> list[tuple[Cell, ...]]:
    return [(name, *(metrics.get(key) for key in columns)) for name, metrics in rows.items()]


def difference_of(found: Comparison | None) -> Cell:
    """The difference of two AUCs with its interval and DeLong's p, as a cell."""
    if found is None:
        return ""
    return Difference(**vars(found.difference), p=found.delong.p if found.delong else None)


def _ranking(found: Evaluation) -> Section:
    columns = MACRO if found.macro else {key: head for key, head in _RANKING.items() if key in found.metrics}
    branches = {f"its branch {name}": metrics for name, metrics in found.branches.items()}
    rows = [
        (*row, difference_of(found.comparisons.get(str(row[0]))))
        for row in _rows({OWN: found.metrics, **branches, **found.baselines}, columns)
    ]
    delong = "" if found.macro else " (DeLong's p)"
    heads = ("", *columns.values(), f"This model's AUC minus the baseline's{delong}")
    missing = [Note(f"No baseline '{name}': {why}.", "soft") for name, why in found.baselines_unavailable.items()]
    title = "Beside what it has to beat" if found.macro else "Does it rank malignant above benign?"
    return Section(title, [Table(rows, heads), *missing])


def _classes(found: Evaluation) -> list[Section]:
    heads = ("class", "cases", "AUC against the rest", "precision", "recall", "F1")
    rows = [tuple(row.values()) for row in found.by_class]
    names = list(found.classes)
    counts = [(name, *row) for name, row in zip(names, found.confusion_matrix, strict=True)]
    return [
        Section("Classes", [Table(rows, heads)]),
        Section("Confusion matrix", [Table(counts, ("true \\ called", *names))]),
    ]


def _points(found: Evaluation) -> Section:
    names = {key: head for key, head in _RATES.items() if key != "balanced_accuracy"}
    rows = [
        (name, point.threshold, *point.counts.values(), *(point.metrics[key] for key in names))
        for name, point in distinct_points(found.decisions.operating_points or {})
    ]
    positive = f"Positive is {list(found.classes)[1].removesuffix('-like')}."
    explained = f"{positive} No threshold was chosen from data: all are 0.5."
    if len(set(found.decisions.thresholds.values())) > 1:
        explained = (
            f"{positive} Rule out: sensitivity of at least 0.95; rule in: specificity of at least 0.95; balanced: the "
            "highest sum of both. Chosen on validation cases, so the rates here may fall short of that."
        )
    heads = ("", "Threshold", "TP", "FP", "TN", "FN", *names.values())
    return Section("Operating points", [Note(explained, "soft"), Table(rows, heads)])


def distinct_points(points: Mapping[str, OperatingPoint]) -> list[tuple[str, OperatingPoint]]:
    """The operating points with their names; those that are one and the same share a row."""
    rows: list[tuple[str, OperatingPoint]] = []
    for name, point in points.items():
        if rows and rows[-1][1] == point:
            rows[-1] = (f"{rows[-1][0]} = {POINT_NAMES[name]}", point)
        else:
            rows.append((POINT_NAMES[name], point))
    return rows


def _rates(found: Evaluation) -> list[Section]:
    called = {name: metrics for name, metrics in found.baselines.items() if "accuracy" in metrics}
    if not called:
        return []
    threshold = found.decisions.thresholds["balanced"]
    note = Note(f"This model at its balanced threshold, {threshold:.3f}; the baselines at 0.5.", "soft")
    table = Table(_rows({OWN: found.metrics, **called}, _RATES), ("", *_RATES.values()))
    return [Section("Classes beside the baselines", [note, table])]


def _probabilities(found: Evaluation) -> list[Section]:
    calibration, decisions = found.decisions.calibration, found.decisions
    text = f"Not calibrated: {calibration.reason or 'no reason is stated'}."
    if calibration.calibrated:
        text = f"Calibrated: logit p' = {calibration.slope:.3f} logit p {calibration.intercept:+.3f} (Platt)."
        if decisions.prior_in_probability is not None:
            text += f" Assumed share of positive cases: {decisions.prior_in_probability:.3f}."
    before = {"before calibration": decisions.before_calibration} if decisions.before_calibration else {}
    others = {name: metrics for name, metrics in found.baselines.items() if "brier" in metrics}
    rows = _rows({OWN: found.of_two_classes, **before, **others}, _PROBABILITY)
    bins = [
        (f"{row['from']:.3f} to {row['to']:.3f}", row["n"], row["mean_probability"], row["malignant"],
         f"{row['observed']:.3f} ({row['low']:.2f}-{row['high']:.2f})")
        for row in decisions.reliability or ()
    ]  # fmt: skip
    heads = ("Probability", "Cases", "Mean probability", "Positive", "Observed share (95 %)")
    explained = (
        f"A calibrated model has slope 1 and intercept 0. ECE: over {len(bins)} bins of equally many cases; its "
        "interval lies too high, as resampling adds noise to each bin. Beside it the ECE that the same probabilities "
        "would have on as many cases if they were right."
    )
    return [
        Section("Are the probabilities right?", [Note(text), Table(rows, ("", *_PROBABILITY.values()))]),
        Section("", [Note(explained, "soft"), Table(bins, heads)], detail=True),
    ]


def _parts(found: Evaluation) -> list[Section]:
    columns, sections = MACRO if found.macro else _OF_A_PART, []
    for name in sorted(found.parts):
        part = found.parts[name]
        role = "They chose the epoch and the thresholds: their figures are too good."
        if not part.chose_the_epoch:
            role = "They trained nothing and chose nothing; the whole model scores them, as its bundle would."
        who = f"{part.cases} of {part.patients} patients: {counted(part.classes)}"
        counts = {} if part.counts is None else {key.upper(): count for key, count in part.counts.items()}
        table = Table(
            [(who, *(part.metrics.get(key) for key in columns), *counts.values())],
            ("Cases", *columns.values(), *counts),
        )
        sections.append(Section(_TITLES[name], [Note(role, "soft"), table]))
    return sections


def _like_size(data: DataFacts) -> list[Section]:
    like = data.like_size
    if like is None:
        return []
    text = (
        "Pairs of a malignant and a benign case whose diameters differ by at most a fifth of their mean: how often the "
        "malignant one scores higher. Size alone can tell little here; intervals by bootstrap of patients."
    )
    table = Table(
        [(OWN, like.pairs, like.model, Difference(**vars(like.difference))), ("size alone", like.pairs, like.size, "")],
        ("", "Pairs", "Ranked right", "This model minus size alone"),
    )
    return [Section("Among cases of like size", [Note(text, "soft"), table])]


def _groups(data: DataFacts) -> list[Section]:
    sections = []
    for column in dict.fromkeys(row.column for row in data.groups):
        rows = [
            (row.group, row.cases, row.positive, row.auc, row.size_auc,
             None if row.difference is None else Difference(**vars(row.difference)))
            for row in data.groups if row.column == column
        ]  # fmt: skip
        heads = (column, "Cases", "Positive", "AUC", "Size alone", "Difference")
        sections.append(Section(f"By {column}", [Table(rows, heads)]))
    return sections


def _clicks(data: DataFacts) -> list[Section]:
    if not data.clicks:
        return []
    rows = [
        (f"{row.distance_mm:g} mm", row.points, row.cases, row.in_plane, row.median, row.high, row.changed, row.auc)
        for row in data.clicks
    ]
    heads = ("Moved by", "Points", "Cases", "In plane alone", "Median change", "95 % below", "Other class", "AUC")
    note = "The same nodules scored from points beside the click: how far the probability moves."
    return [Section("If the click lies elsewhere", [Note(note, "soft"), Table(rows, heads)])]


def _folds(found: Evaluation) -> Section:
    rows = [(str(row["fold"] + 1), row["cases"], row.get("malignant"), row["auc"]) for row in found.job.per_fold]
    heads = ("Fold", "Cases tested", "Malignant", "AUC")
    if not all("malignant" in row for row in found.job.per_fold):
        rows, heads = [(*row[:2], row[3]) for row in rows], (*heads[:2], "Macro AUC")
    return Section("Folds", [Table(rows, heads)], detail=True)
