"""The evaluation of a fine-tuning job: out-of-fold metrics with intervals, beside what they have to beat."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from MAEMCLib.files.atomic import read_json, write_json
from MAEMCLib.models.ood import PERCENTILES, FeatureDistance, case_distance
from MAEMCLib.networks.encoders import build_encoder

from ..classifiers.fold_model import TrainedFolds, features, fold_folder, fold_result, fused_planes, load_fold
from ..classifiers.protocol import IN_FOLD, UNKNOWN, UNKNOWN_PATIENTS
from ..classifiers.starting_point import IMAGENET, SCRATCH
from ..data.cohort import Cohort
from ..data.folds import Division
from ..data.preprocessing import Settings
from ..engine.checkpoints import read_tensors
from ..engine.configuration import FinetuningConfiguration
from ..jobs.job import Job
from .baselines import by_radius, central_forest, logistic, majority_shares, radial_profiles
from .calibration import reliability
from .delong import compare
from .logistic import FEATURE_PENALTY
from .manifest_parts import about_parts, evaluated_rows, report_parts
from .metrics import INTERVALS, auc, confusion, evaluate
from .operating_points import FEWEST_CASES, at_points
from .out_of_fold import Judged, gather, judge
from .page import write_page
from .predictions import PredictionTable, as_written, read_predictions
from .tables import format_table as format_table


def evaluate_job(trained: TrainedFolds) -> dict[str, Any]:
    """Gather the folds' predictions; write predictions.csv, metrics.json and report.html; return what the second holds.

    Raises InputError: results that are missing or damaged, a probability that is NaN.
    """
    job, cohort, division, run = trained.job, trained.cohort, trained.division, trained.run
    preprocessing, device = trained.preprocessing, trained.device
    job.update(stage="Evaluating")
    tested = division.evaluated
    cases = [cohort.cases[int(case)] for case in tested]
    case_ids = [case.case_id for case in cases]
    oof = gather(job.folder, run.folds, case_ids, cohort.labels[tested])
    others, unavailable = _baselines(job, cohort, division, run, preprocessing, device)
    others = {name: values[tested] for name, values in others.items()}
    if job.settings["from"] == SCRATCH:
        unavailable["pre-trained encoder, frozen"] = "trained from scratch"
    patients, rows = [case.patient for case in cases], [case.row for case in cases]
    table = PredictionTable(case_ids, patients, oof.labels, oof.scores, oof.folds, oof.scores, others, rows)
    return _write(job, table, unavailable, _training_distances(job, cohort, division, run, preprocessing, device))


def evaluate_again(job: Job, output: Path | None = None) -> dict[str, Any]:
    """Compute metrics.json and write report.html anew from a finished job's stored predictions, without its data.

    output: another folder for the three files. Raises InputError: files of the job are missing or damaged.
    """
    before = read_json(job.folder / "metrics.json", "The job's metrics")
    table = read_predictions(job.folder / "predictions.csv")
    return _write(
        job, table, before.get("baselines_unavailable", {}), before.get("training_distances", []), output or job.folder
    )


def _write(
    job: Job, table: PredictionTable, unavailable: dict[str, str], distances: list[float], output: Path | None = None
) -> dict[str, Any]:
    settings, output = job.settings, output or job.folder
    oof = gather(job.folder, settings["configuration"]["folds"], table.case_ids, table.labels)
    judged = judge(oof)
    table = replace(table, probabilities=judged.probabilities, network=oof.scores, folds=oof.folds)
    report = _report(job, table, judged, unavailable) | {"training_distances": distances}
    folds, thresholds = settings["configuration"]["folds"], judged.thresholds
    report["parts"] = report_parts(job.folder, folds, judged.calibration, thresholds, output)
    table.write(output / "predictions.csv")
    write_page(output / "report.html", report, table, job.folder / "events.jsonl")
    write_json(output / "metrics.json", report)
    return report


def _baselines(
    job: Job,
    cohort: Cohort,
    division: Division,
    run: FinetuningConfiguration,
    preprocessing: Settings,
    device: torch.device,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(cases,) probabilities by name of the baseline, of the cases that a fold tests, and why a baseline is missing."""
    labels, folds = cohort.labels, division.folds
    learned_from = folds[0].train if division.by_split else division.evaluated
    others = {"majority class": np.full(len(labels), majority_shares(labels[learned_from], 2)[0, 1])}
    unavailable: dict[str, str] = {}
    sizes = [case.diameter_mm for case in cohort.cases]
    missing = sum(size is None for size in sizes)
    if missing:
        unavailable["size alone"] = f"{missing} cases have no diameter_mm in the manifest"
    else:
        others["size alone"] = logistic(np.array(sizes, dtype=float)[:, None], labels, folds)
    presentation = cohort.present(run.augmentation, preprocessing, run.encoder.image_size)
    if cohort.kind.name == "picture":
        others["random forest on the central pixels"] = central_forest(presentation.upright(), labels, folds)
    else:
        profiles = radial_profiles(cohort)
        others["radial profile, by mm"] = logistic(profiles, labels, folds)
        if missing:
            unavailable["radial profile, by radius"] = unavailable["size alone"]
        else:
            others["radial profile, by radius"] = logistic(by_radius(profiles, np.array(sizes)), labels, folds)
    untrained = build_encoder(run.encoder, seed=run.seed + 1)
    values = features(untrained, presentation, np.arange(len(cohort)), device).flatten(1)
    others["untrained encoder, frozen"] = logistic(values.numpy(), labels, folds, FEATURE_PENALTY)
    frozen = [row for fold in folds for row in fold_result(job.folder, fold.number).get("frozen", [])]
    if frozen:
        number_of = {case.case_id: index for index, case in enumerate(cohort.cases)}
        values = np.full(len(cohort), np.nan)
        for row in frozen:
            values[number_of[row["case_id"]]] = row["probability"]
        others["pre-trained encoder, frozen"] = values
    return {name: as_written(values) for name, values in others.items()}, unavailable


def _training_distances(
    job: Job,
    cohort: Cohort,
    division: Division,
    run: FinetuningConfiguration,
    preprocessing: Settings,
    device: torch.device,
) -> list[float]:
    """Percentiles 0 ... 100 of the distances of all cases, each to the cases that its fold's model was trained on.

    Out of fold: a model's own training cases lie nearer to their mean than any new case does. The manifest's test rows
    choose nothing, so that with its split the distances are those of the validation rows. Empty below 20 cases.
    """
    folds = [(fold, fold.validation if division.by_split else fold.test) for fold in division.folds]
    if sum(len(cases) for _, cases in folds) < FEWEST_CASES:
        return []
    presentation = cohort.present(run.augmentation, preprocessing, run.encoder.image_size)
    numbers = fused_planes(run.fusion, presentation)
    found = []
    for fold, cases in folds:
        statistics = read_tensors(fold_folder(job.folder, fold.number) / "statistics.safetensors")
        encoder = load_fold(job.folder, fold.number, run.encoder).encoder
        values = features(encoder, presentation, cases, device).numpy()
        planes = {presentation.planes[number]: number for number in numbers}
        distances = {
            plane: FeatureDistance.of(
                statistics[f"{plane}_mean"], statistics[f"{plane}_covariance"], float(statistics["count"])
            )
            for plane in planes
        }
        found.append(case_distance({plane: values[:, number] for plane, number in planes.items()}, distances))
    return np.percentile(np.concatenate(found), PERCENTILES).round(6).tolist()


def _report(job: Job, table: PredictionTable, judged: Judged, unavailable: dict[str, str]) -> dict[str, Any]:
    settings, configuration = job.settings, job.settings["configuration"]
    labels, patients = table.labels, table.patient_numbers
    malignant, benign = int((labels == 1).sum()), int((labels == 0).sum())
    calibrated = judged.reason is None
    used = judged.used.get("balanced", judged.thresholds["balanced"])
    metrics = evaluate(labels, table.probabilities, patients, used, table.folds, scores=table.network)
    baselines, comparisons = {}, {}
    for name, values in table.others.items():
        figures = evaluate(labels, values, patients, 0.5, table.folds)
        baselines[name] = {key: asdict(metric) for key, metric in figures.items()}
        comparisons[name] = compare(labels, table.network, values, patients)
    report = {
        "subject": job.folder.resolve().name,
        "evaluation": evaluated_rows(settings),
        "protocol": settings["protocol"],
        "leaky": settings["leaky"],
        "pretraining": settings["pretraining"],
        "cases": len(labels),
        "patients": len(np.unique(patients)),
        "malignant": malignant,
        "benign": benign,
        "folds": configuration["folds"],
        "metrics": {key: asdict(metric) for key, metric in metrics.items()},
        "counts": confusion(labels, table.probabilities, used),
        "thresholds": judged.thresholds,
        "operating_points": at_points(labels, table.probabilities, patients, judged.thresholds, judged.used),
        "calibration": {
            "calibrated": calibrated,
            "method": "platt" if calibrated else None,
            "slope": judged.calibration.slope,
            "intercept": judged.calibration.intercept,
            "cases": len(labels) if calibrated else 0,
            **({} if calibrated else {"reason": judged.reason}),
        },
        "prior_in_probability": _prior(configuration, malignant / len(labels), calibrated),
        "reliability": reliability(labels, table.probabilities, patients),
        "per_fold": _per_fold(table),
        "baselines": baselines,
        "comparisons": comparisons,
        "baselines_unavailable": unavailable,
        "training": _training(settings),
        "parts_of_split": settings.get("parts"),
    }
    if calibrated:
        plain = evaluate(labels, table.network, patients, 0.5)
        kept = ("brier", "ece", "ece_if_calibrated", "calibration_slope", "calibration_intercept")
        report["before_calibration"] = {key: asdict(plain[key]) for key in kept}
    report["notes"] = _notes(report, judged)
    return report


def _prior(configuration: dict[str, Any], share: float, calibrated: bool) -> float:
    """The share of malignant cases that the probabilities assume, which an adjustment to a prevalence starts from.

    Platt scaling on the cohort gives the cohort's; a network trained with class weights learns as if both classes were
    equally frequent.
    """
    return share if calibrated or not configuration["class_weights"] else 0.5


def _per_fold(table: PredictionTable) -> list[dict[str, Any]]:
    rows = []
    for fold in np.unique(table.folds):
        tested = table.folds == fold
        labels = table.labels[tested]
        both = 0 < labels.sum() < len(labels)
        rows.append(
            {
                "fold": int(fold),
                "cases": int(tested.sum()),
                "malignant": int(labels.sum()),
                "auc": auc(labels, table.network[tested]) if both else None,
            }
        )
    return rows


def _training(settings: dict[str, Any]) -> dict[str, Any]:
    """What a reader wants to know of the run, from job.json."""
    configuration = settings["configuration"]
    keys = ("epochs", "patience", "batch", "validation_fraction", "fusion", "class_weights", "linear_probe", "seed",
            "labeled_cases")  # fmt: skip
    return {
        "encoder": configuration["encoder"],
        **{key: configuration[key] for key in keys},
        "from": _start_text(settings),
        "software": settings["versions"],
    }


def _start_text(settings: dict[str, Any]) -> str:
    """What the job started from, without the name of its folder or file."""
    kinds = {SCRATCH: SCRATCH, IMAGENET: "ImageNet"}
    return kinds.get(settings["from"], "a model" if settings["pretraining"] == UNKNOWN else "a pre-training")


def _notes(report: dict[str, Any], judged: Judged) -> list[str]:
    notes = [INTERVALS, *about_parts(report)]
    if report["leaky"]:
        notes.append("LEAKY: the pre-training saw patients that are evaluated here (the published protocol).")
    if report["pretraining"] == IN_FOLD:
        notes.append("The pre-training was repeated in each fold without the patients that the fold tests.")
    if report["pretraining"] == UNKNOWN:
        notes.append(UNKNOWN_PATIENTS)
    if judged.reason is None:
        how = (
            "cross-fitted: a fold's probabilities are calibrated, and its cases called, by what was fitted and chosen "
            "without its cases"
        )
        if report["evaluation"] != "out-of-fold":
            how = "fitted on the validation rows"
        notes.append(
            f"Calibrated by Platt scaling, {how}. The probabilities assume a share of malignant cases of "
            f"{report['prior_in_probability']:.3f}. AUCs are of the network's own scores."
        )
    elif judged.thresholds_reason:
        notes.append(f"Not calibrated. All thresholds are 0.5: {judged.thresholds_reason}.")
    else:
        notes.append(f"Not calibrated: {judged.reason}.")
    rarer = min(report["benign"], report["malignant"])
    if rarer < FEWEST_CASES:
        kind = "benign" if report["benign"] <= report["malignant"] else "malignant"
        notes.append(f"Only {rarer} {kind} cases: the intervals are wide; rank nothing by these figures.")
    if report["patients"] < report["cases"]:
        notes.append("Some patients have several cases: DeLong's p takes cases for independent, the intervals do not.")
    if report["folds"] > 1:
        notes.append(_MEAN_OF_FOLDS)
    notes.append("Baselines are called at 0.5; all but the majority class are logistic models in the same folds.")
    return notes


_MEAN_OF_FOLDS = (
    "These are the figures of one fold model at a time. An exported bundle gives the mean of all fold models, whose "
    "probabilities spread less; how it does shows on other data."
)
