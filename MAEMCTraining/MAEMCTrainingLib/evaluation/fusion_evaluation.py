"""The evaluation of a fusion job: out-of-fold metrics of all classes with intervals, beside what they have to beat.

predictions.csv, metrics.json and report.html in the job's folder. For two classes there are further, as of a
fine-tuning, a cross-fitted calibration, three thresholds and the rates at each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.errors import InputError
from MAEMCLib.files.atomic import read_json, replacing, write_json
from MAEMCLib.results import DISCLAIMER

from ..classifiers.fold_model import TrainedFolds, fold_result
from ..classifiers.protocol import IN_FOLD, UNKNOWN, UNKNOWN_PATIENTS
from ..data.parts import TEST, VALIDATION
from ..jobs.job import Job
from .baselines import majority_shares, tabular_baseline
from .bootstrap import patient_samples
from .calibration import reliability
from .fusion_predictions import FusionPredictions, read_fusion_predictions
from .html import page, table
from .manifest_parts import about_parts, evaluated_rows
from .metrics import (
    INTERVALS,
    auc_difference,
    by_class,
    check_distributions,
    confusion_matrix,
    evaluate,
    evaluate_classes,
)
from .operating_points import FEWEST_CASES, POINTS, at_points
from .out_of_fold import gather, judge
from .tables import cell

VALUES_ALONE, IMAGES_ALONE, MAJORITY = "clinical values alone (logistic)", "images alone", "majority class"
HEADS = {"macro_auc": "macro AUC", "accuracy": "ACC", "macro_f1": "macro F1", "balanced_accuracy": "balanced ACC"}
_LEAK = 0.995


def evaluate_fusion(trained: TrainedFolds) -> dict[str, Any]:
    """Gather the folds' predictions, write the three files and return what metrics.json holds.

    Raises InputError: results that are missing, damaged or no probabilities.
    """
    job, cohort, division = trained.job, trained.cohort, trained.division
    job.update(stage="Evaluating")
    tested, folds, classes = division.evaluated, division.folds, cohort.classes
    labels, cases = cohort.labels[tested], [cohort.cases[int(case)] for case in tested]
    tables, fold_of = _gathered(job.folder, len(folds), [case.case_id for case in cases], classes)
    learned_from = folds[0].train if division.by_split else tested
    tables[MAJORITY] = np.repeat(majority_shares(cohort.labels[learned_from], len(classes))[:1], len(tested), axis=0)
    if cohort.fields:
        alone = tabular_baseline(cohort.values, cohort.given, cohort.attributes, cohort.labels, folds)
        tables[VALUES_ALONE] = alone[tested]
    predictions = FusionPredictions(
        [case.case_id for case in cases],
        [case.patient for case in cases],
        fold_of,
        labels,
        classes,
        tables,
    )
    # What is computed from the file is the same when it is read again.
    predictions.write(job.folder / "predictions.csv")
    return evaluate_again(job)


def evaluate_again(job: Job, output: Path | None = None) -> dict[str, Any]:
    """Compute metrics.json and report.html anew from a finished job's predictions.csv, without its data.

    output: another folder for the three files. Raises InputError: the file is missing or damaged.
    """
    predictions, folder = read_fusion_predictions(job), output or job.folder
    report, calibrated = _report(job, predictions), None
    if len(predictions.classes) == 2:
        further, calibrated = _two_classes(job, predictions)
        report |= further
    report["parts"] = _parts(job, predictions.classes)
    report["notes"] = _notes(report)
    folder.mkdir(parents=True, exist_ok=True)
    predictions.write(folder / "predictions.csv", calibrated)
    write_json(folder / "metrics.json", report)
    with replacing(folder / "report.html") as temporary:
        temporary.write_text(_page(report), encoding="utf-8")
    return report


def _gathered(
    folder: Path, folds: int, case_ids: Sequence[str], classes: Sequence[str]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """(cases, classes) out-of-fold probabilities of the model (""), of each branch alone and of images alone, NaN where
    a branch was not observed; and the fold that tested each case."""
    place = {case_id: index for index, case_id in enumerate(case_ids)}
    tables: dict[str, np.ndarray] = {"": np.full((len(case_ids), len(classes)), np.nan)}
    fold_of = np.full(len(case_ids), -1)
    for number in range(folds):
        result = fold_result(folder, number)
        try:
            for name, rows in (("", result["test"]), (IMAGES_ALONE, result.get("images_alone", []))):
                for row in rows:
                    index = place[row["case_id"]]
                    fold_of[index] = number
                    found = {name: row["probabilities"]}
                    if not name:
                        found |= {f"branch {branch}": values for branch, values in row["branches"].items()}
                    for key, values in found.items():
                        tables.setdefault(key, np.full((len(case_ids), len(classes)), np.nan))[index] = values
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"The result of fold {number + 1} in {folder} is damaged or of other data. Remove its result.json and "
                "repeat the fusion's command.",
                "damaged-result",
            ) from error
    if (fold_of < 0).any():
        raise InputError(
            f"{int((fold_of < 0).sum())} cases of {folder} were tested by no fold. Repeat the fusion's command.",
            "damaged-result",
        )
    check_distributions(tables[""])
    return tables, fold_of


def _report(job: Job, predictions: FusionPredictions) -> dict[str, Any]:
    settings, classes, labels = job.settings, predictions.classes, predictions.labels
    patients, tables = predictions.patient_numbers, predictions.tables
    samples, own = patient_samples(labels, patients), tables[""]
    metrics, baselines, branches, comparisons = {}, {}, {}, {}
    for name, found in tables.items():
        observed = np.isfinite(found).all(axis=1)
        whole = len(np.unique(labels[observed])) == len(classes)
        if not whole:
            continue
        figures = evaluate_classes(labels[observed], found[observed], patients[observed], samples[:, observed])
        values = {key: asdict(metric) for key, metric in figures.items()}
        if not name:
            metrics = values
        elif name.startswith("branch "):
            branches[name.removeprefix("branch ")] = values
        else:
            baselines[name] = values
            comparisons[name] = asdict(auc_difference(labels, own, found, patients, samples))
    return {
        "subject": job.folder.resolve().name,
        "evaluation": evaluated_rows(settings),
        "protocol": settings["protocol"],
        "leaky": settings["leaky"],
        "pretraining": settings["pretraining"],
        "cases": len(labels),
        "patients": len(np.unique(patients)),
        "folds": settings["configuration"]["folds"],
        "classes": settings["cohort"]["classes"],
        "clinical": settings["clinical"],
        "seen": settings["cohort"]["seen"],
        "given": settings["cohort"]["given"],
        "metrics": metrics,
        "by_class": by_class(labels, own, classes, patients),
        "confusion_matrix": confusion_matrix(labels, own),
        "parts_of_split": settings.get("parts"),
        "branches": branches,
        "baselines": baselines,
        "comparisons": comparisons,
        "thresholds": dict.fromkeys(POINTS, 0.5),
        "calibration": {
            "calibrated": False,
            "method": None,
            "slope": 1.0,
            "intercept": 0.0,
            "cases": 0,
            "reason": "a calibration is made for two classes only",
        },
    }


def _parts(job: Job, classes: Sequence[str]) -> dict[str, Any]:
    """The figures of the manifest's validation and test rows, by the mean of the fold models' probabilities."""
    results = [fold_result(job.folder, number) for number in range(job.settings["configuration"]["folds"])]
    found = {}
    for part in (VALIDATION, TEST):
        rows = [result.get("parts", {}).get(part) for result in results]
        if not all(rows):
            continue
        labels = np.array([row["label"] for row in rows[0]])
        if len(np.unique(labels)) < len(classes):
            continue
        probabilities = np.mean([[row["probabilities"] for row in fold] for fold in rows], axis=0)
        patients = np.unique([row["patient"] for row in rows[0]], return_inverse=True)[1]
        figures = evaluate_classes(labels, probabilities, patients, patient_samples(labels, patients))
        found[part] = {
            "cases": len(labels),
            "patients": len(np.unique(patients)),
            "metrics": {key: asdict(metric) for key, metric in figures.items()},
            "confusion_matrix": confusion_matrix(labels, probabilities),
            "chose_the_epoch": part == VALIDATION,
        }
    return found


def _two_classes(job: Job, predictions: FusionPredictions) -> tuple[dict[str, Any], np.ndarray]:
    """Calibration and operating points, chosen and fitted as those of a fine-tuning are; calibrated probabilities."""
    configuration, labels = job.settings["configuration"], predictions.labels
    patients, folds = predictions.patient_numbers, predictions.folds
    oof = gather(job.folder, configuration["folds"], predictions.case_ids, labels)
    judged = judge(oof)
    used = judged.used.get("balanced", judged.thresholds["balanced"])
    figures = evaluate(labels, judged.probabilities, patients, used, folds, scores=oof.scores)
    calibrated, share = judged.reason is None, float((labels == 1).mean())
    found = {
        "two_class_metrics": {key: asdict(metric) for key, metric in figures.items()},
        "thresholds": judged.thresholds,
        "thresholds_reason": judged.thresholds_reason,
        "operating_points": at_points(labels, judged.probabilities, patients, judged.thresholds, judged.used),
        "reliability": reliability(labels, judged.probabilities, patients),
        "prior_in_probability": share if calibrated or not configuration["class_weights"] else 0.5,
        "calibration": {
            "calibrated": calibrated,
            "method": "platt" if calibrated else None,
            "slope": judged.calibration.slope,
            "intercept": judged.calibration.intercept,
            "cases": len(labels) if calibrated else 0,
            **({} if calibrated else {"reason": judged.reason}),
        },
    }
    return found, judged.probabilities


def _notes(report: dict[str, Any]) -> list[str]:
    notes = [
        INTERVALS,
        "A case is called what is likeliest. Macro: the mean over classes. AUC: a class against all others.",
        *about_parts(report),
    ]
    if report["leaky"]:
        notes.append("LEAKY: the pre-training saw patients that are evaluated here.")
    if report["pretraining"] == IN_FOLD:
        notes.append("The pre-training was repeated in each fold without the patients that the fold tests.")
    if report["pretraining"] == UNKNOWN:
        notes.append(UNKNOWN_PATIENTS)
    few = [f"{name} ({count})" for name, count in report["classes"].items() if count < FEWEST_CASES]
    if few:
        notes.append(
            f"Fewer than {FEWEST_CASES} cases: {', '.join(few)}. The intervals are wide; rank nothing by them."
        )
    alone = report["baselines"].get(VALUES_ALONE, {}).get("macro_auc", {}).get("value")
    if alone is not None and alone > _LEAK:
        notes.append(
            "The clinical values alone tell the classes almost without an error: look whether one of them is known "
            "only because the class is."
        )
    partly = [f"{name} {n}" for name, n in {**report["seen"], **report["given"]}.items() if n < report["cases"]]
    if partly:
        notes.append(
            f"Observed in part of the {report['cases']} cases: {', '.join(partly)}. What is missing is masked."
        )
    calibration = report["calibration"]
    if calibration["calibrated"]:
        notes.append("Calibrated by Platt scaling, cross-fitted by fold.")
    else:
        notes.append(f"Not calibrated: {calibration['reason']}.")
    notes.append("These are the figures of one fold model at a time; an exported bundle gives the mean of all.")
    return notes


def format_table(report: dict[str, Any]) -> str:
    """The report as a table of text."""
    counts = ", ".join(f"{count} {name}" for name, count in report["classes"].items())
    lines = [
        f"{report['cases']} cases of {report['patients']} patients ({counts}), {report['folds']} folds by patient, "
        f"protocol {report['protocol']}"
    ]
    rows = _rows(report)
    width = max(len(name) for name, _ in rows)
    lines.append(" " * width + "".join(f"  {head:>18}" for head in HEADS.values()))
    lines += [f"{name:<{width}}" + "".join(f"  {cell(row.get(key)):>18}" for key in HEADS) for name, row in rows]
    lines += [f"Macro AUC minus that of '{name}': {_difference(m)}" for name, m in report["comparisons"].items()]
    lines += ["", "Rows: true class. Columns: called."]
    classes = list(report["classes"])
    wide = max(7, *(len(name) for name in classes))
    lines.append(" " * wide + "".join(f"  {name:>{wide}}" for name in classes) + f"  {'F1':>6}  {'AUC':>18}")
    for name, counted, figures in zip(classes, report["confusion_matrix"], report["by_class"], strict=True):
        line = f"{name:<{wide}}" + "".join(f"  {count:>{wide}}" for count in counted)
        lines.append(f"{line}  {figures['f1']:>6.3f}  {cell(figures['auc']):>18}")
    return "\n".join([*lines, "", *report["notes"], DISCLAIMER])


def _rows(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    branches = [(f"  its branch {name}", figures) for name, figures in report["branches"].items()]
    parts = [(f"  on the {part} rows of the manifest", p["metrics"]) for part, p in report.get("parts", {}).items()]
    return [("this model", report["metrics"]), *parts, *branches, *report["baselines"].items()]


def _difference(metric: dict[str, Any]) -> str:
    text = f"{metric['value']:+.3f}"
    return text if metric["low"] is None else f"{text} ({metric['low']:+.2f} to {metric['high']:+.2f})"


def _page(report: dict[str, Any]) -> str:
    """The report as a page."""
    classes = list(report["classes"])
    counts = ", ".join(f"{count} {name}" for name, count in report["classes"].items())
    parts = [
        f"<h1>Evaluation of {escape(report['subject'])}</h1>",
        f"<p>{report['cases']} cases of {report['patients']} patients ({escape(counts)}), {report['folds']} folds by "
        f"patient, protocol {escape(report['protocol'])}. Images: {escape(', '.join(report['seen']))}. Clinical "
        f"values: {escape(', '.join(report['given']) or 'none')}.</p>",
        f"<p class='notice'>{DISCLAIMER}</p>",
    ]
    if report["leaky"]:
        parts.append("<p class='leaky'>LEAKY: the pre-training saw patients that are evaluated here.</p>")
    rows = [(name, *(cell(figures.get(key)) for key in HEADS)) for name, figures in _rows(report)]
    parts += ["<h2>Beside what it has to beat</h2>", table(("", *HEADS.values()), rows)]
    parts.append(
        table(("Macro AUC minus that of", ""), [(n, _difference(m)) for n, m in report["comparisons"].items()])
    )
    heads = ("class", "cases", "AUC against the rest", "precision", "recall", "F1")
    rows = [
        (
            r["class"],
            r["cases"],
            cell(r["auc"]),
            *("-" if r[k] is None else f"{r[k]:.3f}" for k in ("precision", "recall", "f1")),
        )
        for r in report["by_class"]
    ]
    parts += ["<h2>Classes</h2>", table(heads, rows), "<h2>Confusion matrix</h2>"]
    counted = zip(classes, report["confusion_matrix"], strict=True)
    parts.append(table(("true \\ called", *classes), [(name, *row) for name, row in counted]))
    if "operating_points" in report:
        rows = [
            (name, f"{p['threshold']:.3f}", *(p["counts"][k] for k in ("tp", "fp", "tn", "fn")),
             cell(p["metrics"]["sensitivity"]), cell(p["metrics"]["specificity"]))
            for name, p in report["operating_points"].items()
        ]  # fmt: skip
        heads = ("point", "threshold", "TP", "FP", "TN", "FN", "sensitivity", "specificity")
        parts += [f"<h2>Operating points (positive: {escape(classes[1])})</h2>", table(heads, rows)]
    parts += ["<h2>Notes</h2><ul>", *(f"<li>{escape(note)}</li>" for note in report["notes"]), "</ul>"]
    parts.append(f"<p class='notice'>{DISCLAIMER}</p>")
    return page("MAEMC fusion evaluation", parts)


def report_of(job: Job) -> dict[str, Any]:
    """metrics.json of a finished job. Raises InputError."""
    return read_json(job.folder / "metrics.json", "The job's metrics")
