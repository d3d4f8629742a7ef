"""The evaluation of a job: out-of-fold metrics with intervals, beside what they have to beat, and notes on how they
were made and where they say less than they seem to.

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
from ..classifiers.fold_model import FoldTraining, fold_results, probabilities_of
from ..classifiers.starting_point import IMAGENET, IN_FOLD, SCRATCH, UNKNOWN, UNKNOWN_PATIENTS
from ..data.cases import TEST, VALIDATION
from ..jobs.job import Job
from ..statistics.calibration import Calibration
from ..statistics.intervals import patient_samples
from ..statistics.metrics import INTERVALS, evaluate, macro_auc_row
from ..statistics.operating_points import FEWEST_CASES, at_points
from .baselines import SIZE, VALUES, baselines_of, training_distances
from .evaluation import Decisions, Evaluation, JobFacts, Part, counts_of, macro_figures, measure, with_figures
from .out_of_fold import OutOfFold, calibrate, out_of_fold
from .page import write_evaluation
from .predictions import PredictionTable, of_second, read_predictions
from .reconstruction_errors import training_errors

_TWO_CLASSES_ONLY = "a calibration is made for two classes only"
_TRAINING = ("epochs", "patience", "batch", "validation_fraction", "fusion", "class_weights", "linear_probe", "seed",
             "labeled_cases")  # fmt: skip


def evaluate_job(trained: FoldTraining) -> Evaluation:
    """Read the folds' predictions; write predictions.csv, metrics.json and report.html.

    Raises InputError: results that are missing or damaged, a probability that is NaN.
    """
    job, cohort, tested = trained.session.job, trained.cohort, trained.division.evaluated
    classes = tuple(job.settings.get("classes", OWN_CLASSES))
    cases = [cohort.cases[int(case)] for case in tested]
    labels, case_ids = cohort.labels[tested], [case.case_id for case in cases]
    results = fold_results(job.folder, trained.run.folds)
    oof = out_of_fold(results, job.folder, case_ids, labels, len(classes))
    training = {"training_distances": training_distances(trained), "training_errors": training_errors(trained)}
    baselines, unavailable = baselines_of(trained, results)
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
    return _write(job, results, oof, table, unavailable, training)


def evaluate_again(job: Job, output: Path | None = None) -> Evaluation:
    """Compute metrics.json and write report.html anew from a finished job's stored predictions, without its data.

    output: another folder for the three files. Raises InputError: files of the job are missing or damaged.
    """
    before = read_json(job.folder / "metrics.json", "The job's metrics")
    table = read_predictions(job.folder / "predictions.csv")
    unavailable = before.get("baselines_unavailable", {})
    training = {
        "training_distances": before.get("training_distances", []),
        "training_errors": before.get("training_errors", {}),
    }
    results = fold_results(job.folder, job.settings["configuration"]["folds"])
    if output is not None:
        make_folder(output)
    oof = out_of_fold(results, job.folder, table.case_ids, table.labels, len(table.classes))
    return _write(job, results, oof, table, unavailable, training, output)


def _write(
    job: Job,
    results: Sequence[Mapping[str, Any]],
    oof: OutOfFold,
    table: PredictionTable,
    unavailable: Mapping[str, str],
    training: Mapping[str, Any],
    output: Path | None = None,
) -> Evaluation:
    """training: what is known of the training's own cases, by the names of ``JobFacts``."""
    settings, output = job.settings, output or job.folder
    configuration = settings["configuration"]
    if len(table.classes) == 2:
        probabilities, decisions, used = calibrate(oof)
        table = replace(table.as_written(), probabilities=of_second(probabilities))
        # What an adjustment to a prevalence starts from. Platt scaling on the cohort gives the cohort's; a network
        # trained with class weights learns as if both classes were equally frequent.
        balanced = decisions.calibration.reason and configuration["class_weights"]
        decisions = replace(decisions, prior_in_probability=0.5 if balanced else float((table.labels == 1).mean()))
        decisions = with_figures(decisions, replace(table, network=oof.probabilities), used)
    else:
        table = table.as_written()
        decisions, used = Decisions(Calibration(reason=_TWO_CLASSES_ONLY)), {}
    if not table.by_class:  # its figures are those of the numbers themselves, as a file has them to six digits
        table = replace(table, network=oof.probabilities, folds=oof.folds)
    parts = evaluate_parts(results, job.folder, table, decisions)
    found = measure(
        table,
        decisions,
        used.get("balanced", 0.5),
        oof.scores,
        subject=job.folder.resolve().name,
        evaluation=evaluated_rows(settings),
        leaky=settings["leaky"],
        baselines_unavailable=unavailable,
        job=_job_facts(settings, table, training),
        parts={name: part for name, (_, part) in parts.items()},
    )
    found = replace(found, notes=job_notes(found))
    for part, (rows, _) in parts.items():
        rows.write(output / f"predictions-{part}.csv")
    write_evaluation(found, table, output, job.folder)
    return found


def _job_facts(settings: Mapping[str, Any], table: PredictionTable, training: Mapping[str, Any]) -> JobFacts:
    configuration, cohort = settings["configuration"], settings["cohort"]
    trained = {key: configuration[key] for key in _TRAINING if key in configuration}
    start = {"from": _start_text(settings), "software": settings["versions"]}
    return JobFacts(
        protocol=settings["protocol"],
        pretraining=settings["pretraining"],
        folds=configuration["folds"],
        training={"encoder": configuration["encoder"], **trained, **start},
        per_fold=_per_fold(table),
        parts_of_split=settings.get("parts"),
        **training,
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
    results: Sequence[Mapping[str, Any]], folder: Path, table: PredictionTable, decisions: Decisions
) -> dict[str, tuple[PredictionTable, Part]]:
    """Of the parts that the manifest named: what the whole model says of their cases, and how good that is.

    results: of the folds. table: the job's own predictions, for its classes. Raises InputError where the results of the
    folds do not fit each other.
    """
    rows_of = [result.get("parts", {}) for result in results]
    found = {}
    for part in (VALIDATION, TEST):
        if all(rows.get(part) for rows in rows_of):
            scored = _mean_of_folds([rows[part] for rows in rows_of], table, decisions.calibration, folder)
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


_LEAK = 0.995
_MACRO = "A case is called what is likeliest. Macro: the mean over classes. AUC: a class against all others."
_MEAN_OF_FOLDS = (
    "These are the figures of one fold model at a time. An exported bundle gives the mean of all fold models, whose "
    "probabilities spread less; how it does shows on other data."
)


def job_notes(found: Evaluation) -> list[str]:
    """Of a job's own cases."""
    job, calibration = found.job, found.decisions.calibration
    notes = [INTERVALS, *about_parts(found.evaluation, bool(job.parts_of_split))]
    if found.macro:
        notes.append(_MACRO)
    if found.leaky:
        notes.append("LEAKY: the pre-training saw patients that are evaluated here (the published protocol).")
    if job.pretraining == IN_FOLD:
        notes.append("The pre-training was repeated in each fold without the patients that the fold tests.")
    if job.pretraining == UNKNOWN:
        notes.append(UNKNOWN_PATIENTS)
    if calibration.calibrated:
        how = (
            "cross-fitted: a fold's probabilities are calibrated, and its cases called, by what was fitted and chosen "
            "without its cases"
        )
        if found.evaluation != "out-of-fold":
            how = "fitted on the validation rows"
        notes.append(
            f"Calibrated by Platt scaling, {how}. The probabilities assume a share of {_positive(found)} cases of "
            f"{found.decisions.prior_in_probability:.3f}. AUCs are of the network's own scores."
        )
    elif found.decisions.thresholds_reason:
        notes.append(f"Not calibrated. All thresholds are 0.5: {found.decisions.thresholds_reason}.")
    else:
        notes.append(f"Not calibrated: {calibration.reason}.")
    notes += few_cases(found)
    alone = found.baselines.get(VALUES, {}).get("macro_auc")
    if alone is not None and alone.value is not None and alone.value > _LEAK:
        notes.append(
            "The clinical values alone tell the classes almost without an error: look whether one of them is known "
            "only because the class is."
        )
    partly = [f"{name} {n}" for name, n in {**job.seen, **job.given}.items() if n < found.cases]
    if partly:
        notes.append(f"Observed in part of the {found.cases} cases: {', '.join(partly)}. What is missing is masked.")
    if found.patients < found.cases:
        notes.append("Some patients have several cases: DeLong's p takes cases for independent, the intervals do not.")
    if job.folds > 1:
        notes.append(_MEAN_OF_FOLDS)
    return [*notes, "Baselines are called at 0.5; all but the majority class are fitted in the same folds."]


def about_parts(evaluated: str, divided: bool) -> list[str]:
    """Which rows of the manifest the figures are of. divided: whether it has a split."""
    if evaluated == "out-of-fold":
        notes = ["Predictions are out of fold."]
        return [*notes, "Folds are of the manifest's training rows."] if divided else notes
    if evaluated.startswith(TEST):
        return ["The figures are of the manifest's test rows, which trained nothing and chose nothing."]
    return [
        "The manifest has no test rows: the figures are of its validation rows, which chose the epoch and the "
        "thresholds. They are too good."
    ]


def few_cases(found: Evaluation) -> list[str]:
    """Which classes are too small to rank anything by."""
    few = [f"{n} {name.removesuffix('-like')}" for name, n in found.classes.items() if n < FEWEST_CASES]
    return [f"Only {', '.join(few)} cases: the intervals are wide; rank nothing by these figures."] if few else []


def data_notes(found: Evaluation) -> list[str]:
    """Of other data."""
    data, decisions = found.data, found.decisions
    notes = [INTERVALS, data.overlap["text"]]
    if found.macro:
        notes.append(_MACRO)
    if decisions.calibration.calibrated and decisions.prior_in_probability is not None:
        share = list(found.classes.values())[1] / found.cases
        notes.append(
            f"The probabilities assume a share of {_positive(found)} cases of {decisions.prior_in_probability:.3f}; "
            f"here it is {share:.3f}. The Brier score, ECE and intercept include that difference."
        )
    elif not decisions.calibration.calibrated:
        notes.append(f"The model is not calibrated: {decisions.calibration.reason or 'no reason is stated'}.")
    if set(decisions.thresholds.values()) == {0.5}:
        notes.append("All thresholds of the model are 0.5: none was chosen from data.")
    notes += few_cases(found)
    if data.unlabeled:
        notes.append(f"{data.unlabeled} cases have no label and are left out.")
    if data.failed:
        notes.append(
            f"{len(data.failed)} labeled cases could not be scored and are left out: metrics.json has their rows in "
            "the manifest."
        )
    if SIZE in found.baselines:
        notes.append("Size alone ranks by the diameter; nothing is fitted.")
    return notes


def _positive(found: Evaluation) -> str:
    return list(found.classes)[1].removesuffix("-like")
