"""The evaluation of a job: out-of-fold metrics with intervals, beside what they have to beat.

predictions.csv, metrics.json and report.html in the job's folder, for either head and for two classes or more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.files.atomic import read_json
from MAEMCLib.files.folder import make_folder

from ..classifiers.cases import OWN_CLASSES
from ..classifiers.fold_model import FoldTraining
from ..classifiers.starting_point import IMAGENET, SCRATCH, UNKNOWN
from ..jobs.job import Job
from ..statistics.calibration import Calibration
from ..statistics.metrics import macro_auc_row
from .baselines import baselines_of, training_distances
from .evaluation import Decisions, Evaluation, JobFacts, measure, with_figures
from .manifest_parts import evaluate_parts, evaluated_rows
from .notes import job_notes
from .out_of_fold import Calibrated, OutOfFold, calibrate, read_out_of_fold
from .page import write_evaluation
from .predictions import PredictionTable, of_second, read_predictions

_TWO_CLASSES_ONLY = "a calibration is made for two classes only"
_TRAINING = ("epochs", "patience", "batch", "validation_fraction", "fusion", "class_weights", "linear_probe", "seed",
             "labeled_cases")  # fmt: skip


def evaluate_job(trained: FoldTraining) -> Evaluation:
    """Read the folds' predictions; write predictions.csv, metrics.json and report.html.

    Raises InputError: results that are missing or damaged, a probability that is NaN.
    """
    job, cohort, tested = trained.session.job, trained.cohort, trained.division.evaluated
    job.update(stage="Evaluating")
    classes = tuple(job.settings.get("classes", OWN_CLASSES))
    cases = [cohort.cases[int(case)] for case in tested]
    labels, case_ids = cohort.labels[tested], [case.case_id for case in cases]
    oof = read_out_of_fold(job.folder, trained.run.folds, case_ids, labels, len(classes))
    baselines, unavailable = baselines_of(trained)
    table = PredictionTable(
        case_ids=case_ids,
        patients=[case.patient for case in cases],
        labels=labels,
        probabilities=oof.probabilities,
        folds=oof.folds,
        network=oof.probabilities,
        others={**oof.others, **baselines},
        rows=[case.row for case in cases],
        classes=classes,
        by_class=job.settings["kind"] == "fuse" or classes != OWN_CLASSES,
    )
    return _write(job, table.as_written(), unavailable, training_distances(trained))


def evaluate_again(job: Job, output: Path | None = None) -> Evaluation:
    """Compute metrics.json and write report.html anew from a finished job's stored predictions, without its data.

    output: another folder for the three files. Raises InputError: files of the job are missing or damaged.
    """
    before = read_json(job.folder / "metrics.json", "The job's metrics")
    table = read_predictions(job.folder / "predictions.csv")
    unavailable, distances = before.get("baselines_unavailable", {}), before.get("training_distances", [])
    return _write(job, table, unavailable, distances, output or job.folder)


def _write(
    job: Job, table: PredictionTable, unavailable: Mapping[str, str], distances: list[float], output: Path | None = None
) -> Evaluation:
    settings, output, two = job.settings, output or job.folder, len(table.classes) == 2
    folds = settings["configuration"]["folds"]
    oof = read_out_of_fold(job.folder, folds, table.case_ids, table.labels, len(table.classes))
    calibrated = calibrate(oof) if two else None
    if calibrated is not None:
        table = replace(table, probabilities=of_second(calibrated.probabilities))
    if not table.by_class:  # its figures are those of the numbers themselves, as a file has them to six digits
        table = replace(table, network=oof.probabilities, folds=oof.folds)
    decisions = _decisions(table, oof, calibrated, settings["configuration"])
    parts = evaluate_parts(job.folder, table, folds, decisions)
    found = measure(
        table,
        decisions,
        calibrated.used.get("balanced", calibrated.thresholds["balanced"]) if calibrated else 0.5,
        oof.scores,
        subject=job.folder.resolve().name,
        evaluation=evaluated_rows(settings),
        leaky=settings["leaky"],
        baselines_unavailable=unavailable,
        job=_job_facts(settings, table, distances),
        parts={name: part for name, (_, part) in parts.items()},
    )
    found = replace(found, notes=job_notes(found))
    make_folder(output)
    for part, (rows, _) in parts.items():
        rows.write(output / f"predictions-{part}.csv")
    write_evaluation(found, table, output, job.folder)
    return found


def _decisions(
    table: PredictionTable, oof: OutOfFold, found: Calibrated | None, configuration: Mapping[str, Any]
) -> Decisions:
    if found is None:
        return Decisions(Calibration(reason=_TWO_CLASSES_ONLY))
    # What an adjustment to a prevalence starts from. Platt scaling on the cohort gives the cohort's; a network trained
    # with class weights learns as if both classes were equally frequent.
    prior = 0.5 if found.calibration.reason and configuration["class_weights"] else float((table.labels == 1).mean())
    decisions = Decisions(found.calibration, found.thresholds, prior, found.thresholds_reason)
    return with_figures(decisions, replace(table, network=oof.probabilities), found.used)


def _job_facts(settings: Mapping[str, Any], table: PredictionTable, distances: list[float]) -> JobFacts:
    configuration, cohort = settings["configuration"], settings["cohort"]
    training = {key: configuration[key] for key in _TRAINING if key in configuration}
    start = {"from": _start_text(settings), "software": settings["versions"]}
    return JobFacts(
        protocol=settings["protocol"],
        pretraining=settings["pretraining"],
        folds=configuration["folds"],
        training={"encoder": configuration["encoder"], **training, **start},
        per_fold=_per_fold(table),
        parts_of_split=settings.get("parts"),
        training_distances=distances,
        clinical=settings.get("clinical", ()),
        seen=cohort.get("seen", {}),
        given=cohort.get("given", {}),
    )


def _per_fold(table: PredictionTable) -> list[dict[str, Any]]:
    """What each fold tested; its AUC where it tested every class."""
    rows = []
    for fold in np.unique(table.folds):
        tested = table.folds == fold
        labels, every = table.labels[tested], np.ones((1, int(tested.sum())))
        row = {"fold": int(fold), "cases": len(labels), "auc": None}
        if table.classes == OWN_CLASSES:
            row["malignant"] = int(labels.sum())
        if len(np.unique(labels)) == len(table.classes):
            row["auc"] = float(macro_auc_row(labels, table.scores[tested], every)[0])
        rows.append(row)
    return rows


def _start_text(settings: Mapping[str, Any]) -> str:
    """What the job started from, without the name of its folder or file."""
    kinds = {SCRATCH: SCRATCH, IMAGENET: "ImageNet"}
    return kinds.get(settings["from"], "a model" if settings["pretraining"] == UNKNOWN else "a pre-training")
