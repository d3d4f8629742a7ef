"""The evaluation of a job: out-of-fold metrics with intervals, beside what they have to beat.

predictions.csv, metrics.json and report.html in the job's folder, for either head and for two classes or more. The
validation and the test rows that a manifest names are scored by the whole model: the mean of its fold models,
calibrated and called as the exported bundle does it. The test rows trained nothing and chose nothing. The validation
rows chose the epoch and the thresholds, so that their figures are too good; they stand beside those of the test rows
for that reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.errors import InputError
from MAEMCLib.files.atomic import make_folder, read_json

from ..classifiers.cases import OWN_CLASSES
from ..classifiers.fold_model import FoldTraining, fold_result
from ..classifiers.starting_point import IMAGENET, SCRATCH, UNKNOWN
from ..data.parts import TEST, VALIDATION
from ..jobs.job import Job
from ..statistics.bootstrap import patient_samples
from ..statistics.calibration import Calibration
from ..statistics.metrics import evaluate, macro_auc_row
from ..statistics.operating_points import at_points
from .baselines import baselines_of, training_distances
from .evaluation import Decisions, Evaluation, JobFacts, Part, counts_of, macro_figures, measure, with_figures
from .notes import job_notes
from .out_of_fold import calibrate, probabilities_of, read_out_of_fold
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
    settings, output = job.settings, output or job.folder
    configuration = settings["configuration"]
    folds = configuration["folds"]
    oof = read_out_of_fold(job.folder, folds, table.case_ids, table.labels, len(table.classes))
    decisions, used = Decisions(Calibration(reason=_TWO_CLASSES_ONLY)), {}
    if len(table.classes) == 2:
        probabilities, decisions, used = calibrate(oof)
        table = replace(table, probabilities=of_second(probabilities))
        # What an adjustment to a prevalence starts from. Platt scaling on the cohort gives the cohort's; a network
        # trained with class weights learns as if both classes were equally frequent.
        balanced = decisions.calibration.reason and configuration["class_weights"]
        decisions = replace(decisions, prior_in_probability=0.5 if balanced else float((table.labels == 1).mean()))
        decisions = with_figures(decisions, replace(table, network=oof.probabilities), used)
    if not table.by_class:  # its figures are those of the numbers themselves, as a file has them to six digits
        table = replace(table, network=oof.probabilities, folds=oof.folds)
    parts = evaluate_parts(job.folder, table, folds, decisions)
    found = measure(
        table,
        decisions,
        used.get("balanced", 0.5),
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


def evaluated_rows(settings: Mapping[str, Any]) -> str:
    """What the figures are of: out of fold, or of the rows of a part of the manifest's split."""
    parts = settings.get("parts")
    if not parts or not parts[VALIDATION] or settings["configuration"].get("folds_from"):
        return "out-of-fold"
    return f"{TEST if parts[TEST] else VALIDATION} rows"


def evaluate_parts(
    folder: Path, table: PredictionTable, folds: int, decisions: Decisions
) -> dict[str, tuple[PredictionTable, Part]]:
    """Of the parts that the manifest named: what the whole model says of their cases, and how good that is.

    table: the job's own predictions, for its classes. Raises InputError where the results of the folds do not fit each
    other.
    """
    results = [fold_result(folder, number).get("parts", {}) for number in range(folds)]
    found = {}
    for part in (VALIDATION, TEST):
        if all(result.get(part) for result in results):
            scored = _mean_of_folds([result[part] for result in results], table, decisions.calibration, folder)
            if len(np.unique(scored.labels)) == len(table.classes):
                found[part] = scored, _figures(scored, decisions.thresholds, part)
    return found


def _mean_of_folds(
    folds: Sequence[list[dict[str, Any]]], own: PredictionTable, calibration: Calibration, folder: Path
) -> PredictionTable:
    first = folds[0]
    names = [row["case_id"] for row in first]
    if any([row["case_id"] for row in rows] != names for rows in folds):
        raise InputError(
            f"The folds of {folder} scored different test rows. Remove the result.json of its folds and repeat the "
            "training's command.",
            "damaged-result",
            [folder],
        )
    scores = np.array([[probabilities_of(row) for row in rows] for rows in folds])
    network = probabilities = scores.mean(axis=0)
    if len(own.classes) == 2:
        probabilities = of_second(np.mean([calibration.apply(values[:, 1]) for values in scores], axis=0))
    return PredictionTable(
        case_ids=names,
        patients=[row["patient"] for row in first],
        labels=np.array([row["label"] for row in first]),
        probabilities=probabilities,
        network=network,
        rows=[row["row"] for row in first],
        classes=own.classes,
        by_class=own.by_class,
    )


def _figures(table: PredictionTable, thresholds: Mapping[str, float], part: str) -> Part:
    labels, patients, second = table.labels, table.patient_numbers, table.probabilities[:, 1]
    if table.by_class:
        metrics = macro_figures(table, table.scores, patient_samples(labels, patients))
    else:
        metrics = evaluate(labels, second, patients, thresholds["balanced"])
    points = at_points(labels, second, patients, thresholds) if len(table.classes) == 2 else None
    return Part(
        **counts_of(table),
        metrics=metrics,
        chose_the_epoch=part == VALIDATION,
        counts=points["balanced"].counts if points else None,
        operating_points=points,
    )
