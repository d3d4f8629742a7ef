"""A bundle, or the models of a finished training, on other labeled data: what a hospital does before it trusts one.

The whole model scores each case; of a training in folds, patients whom a fold tested are scored by that fold's member
alone, which never saw them. Thresholds and calibration are the model's; nothing is chosen on the data.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.files.atomic import make_folder
from MAEMCLib.models.bundle import ModelBundle
from MAEMCLib.models.card import ModelCard
from MAEMCLib.models.reference_case import open_predictor
from MAEMCLib.models.store import find_model

from ..classifiers.cases import LABEL, OWN_CLASSES
from ..classifiers.export import models_of_job
from ..classifiers.starting_point import IMAGENET, SCRATCH, UNKNOWN, UNKNOWN_PATIENTS
from ..data.sources import Source
from ..jobs.job import Job
from ..statistics.calibration import Calibration
from ..statistics.metrics import auc
from .baselines import SIZE
from .clicks import click_rows
from .evaluation import ClickRow, DataFacts, Decisions, Evaluation, measure, with_figures
from .groups import Grouping, group_rows, like_size
from .page import write_evaluation
from .predictions import PredictionTable, read_predictions
from .report import data_notes
from .scored_data import WHOLE, Failed, Members, Progress, Scored, score_cache, score_manifest


@dataclass(frozen=True)
class Wanted:
    """What is measured besides. target: the manifest's column of the class; None: its own, the label. groups: columns
    whose groups have rows of their own. clicks: whether nodules are scored again from moved points."""

    target: str | None = None
    groups: Sequence[Grouping] = ()
    clicks: bool = False


def evaluate_on(
    reference: str,
    data: Path,
    output: Path,
    home: Path,
    device: str = "auto",
    progress: Progress = lambda done, total: None,
    wanted: Wanted = Wanted(),
) -> tuple[Evaluation, list[Failed]]:
    """Score the labeled cases of a manifest or a cache; write metrics.json, predictions.csv and report.html to output.

    reference: a finished job, a bundle or a model's id. Returns the evaluation, and the cases that could not be scored
    with their reasons. Raises ModelError: no such bundle, damaged; InputError: an unfinished job, data without labels,
    of one class or of another slice step; UsageError: output is a job's folder, a model of classes that no column is
    named for, groups of no column, moved points of a cache or of pictures.
    """
    make_output(output)
    job = Job(Path(reference)) if (Path(reference) / "job.json").is_file() else None
    members = _members(reference, job, device)
    card = members.card
    column = _target(card, wanted.target)
    if wanted.clicks and (data.is_dir() or card.input != "nodule" or len(card.classes) > 2):
        raise UsageError("Points are moved of a manifest's nodules, for a model of two classes.", "clicks")
    if wanted.groups and len(card.classes) > 2:
        raise UsageError("Groups are measured for models of two classes.", "groups")
    source = Source(data)
    source.check_columns([grouping.column for grouping in wanted.groups])
    if data.is_dir():
        scored = score_cache(members, source, wanted.groups, progress)
    else:
        scored = score_manifest(members, source, home, column, wanted.groups, progress)
    _check(scored, data, card, column)
    clicks: list[ClickRow] = []
    if wanted.clicks:
        folds = [members.fold_of(patient, scored.key) for patient in scored.table.patients]
        clicks = click_rows(members, scored, folds, card.thresholds["balanced"], progress)
    found = _evaluate(scored, card, job, members, wanted.groups, clicks)
    write_evaluation(found, scored.table, output)
    return found, scored.failed


def _members(reference: str, job: Job | None, device: str) -> Members:
    """Of a bundle the whole model alone; of a job each fold's member too, for the patients whom the fold tests."""
    if job is None:
        bundle = ModelBundle.open(find_model(reference))
        predictor = open_predictor(bundle, device)
        return Members(bundle.card, lambda fold: predictor)

    def load(fold: int) -> Any:
        return open_predictor(models_of_job(job.folder, None if fold == WHOLE else [fold]), device)

    card, settings, folds = models_of_job(job.folder).card, job.settings, {}
    if settings["configuration"]["folds"] > 1 and not settings["leaky"]:
        table = read_predictions(job.folder / "predictions.csv")
        folds = dict(zip(table.patients, table.folds.tolist(), strict=True))
    return Members(card, load, folds, settings["cohort"]["pseudonym_key"])


def make_output(folder: Path) -> None:
    """Make the folder before anything slow begins. Raises UsageError for a job's folder, InputError where it cannot."""
    if (folder / "job.json").exists():
        raise UsageError(f"{folder} holds a job, whose own results would be replaced. Choose another --output.")
    make_folder(folder)


def _target(card: ModelCard, target: str | None) -> str:
    if target is None and set(card.classes) != set(OWN_CLASSES):
        raise UsageError(
            f"The classes of {card.id} are {', '.join(card.classes)}. Say which column of the manifest holds them: "
            "--target COLUMN.",
            "target",
        )
    return target or LABEL


def _check(scored: Scored, data: Path, card: ModelCard, target: str) -> None:
    labels = scored.table.labels
    if not len(labels):
        if scored.failed:
            case, _, reason = scored.failed[0]
            raise InputError(
                f"None of the {len(scored.failed)} labeled cases could be scored: {case}: {reason}", "none", [case]
            )
        values = "0 or 1" if target == LABEL else "its classes"
        raise UsageError(
            f"No case of {data} that the model takes has a label. Fill the manifest's {target} column with {values}.",
            "no-labels",
        )
    lacking = [name.removesuffix("-like") for number, name in enumerate(card.classes) if number not in labels]
    if lacking:
        raise InputError(
            f"No labeled case of {data} is of the class {', '.join(lacking)}. An evaluation needs cases of all "
            "classes.",
            "single-class",
        )


def _evaluate(
    scored: Scored,
    card: ModelCard,
    job: Job | None,
    members: Members,
    groupings: Sequence[Grouping],
    clicks: Sequence[ClickRow],
) -> Evaluation:
    table, decisions = scored.table, _decisions(scored.table, card)
    overlap, seen = _overlap(scored, job, members)
    two, numbers = len(table.classes) == 2, table.patient_numbers
    sizes = table.others[SIZE] if two and SIZE in table.others else None
    found = measure(
        table,
        decisions,
        decisions.thresholds["balanced"],
        table.scores[:, 1],
        subject=f"{card.id} {card.version}" if job is None else job.folder.resolve().name,
        evaluation="other data",
        leaky=False,
        baselines_unavailable={SIZE: f"{scored.unsized} cases have no diameter_mm"} if scored.unsized else {},
        data=DataFacts(
            model=None if job is not None else {"id": card.id, "version": card.version, "sha256": card.sha256},
            overlap=overlap,
            unlabeled=scored.unlabeled,
            failed=[failed.row for failed in scored.failed],  # case_ids and reasons may name somebody
            gates=scored.gates,
            facts=_facts(scored, card),
            groups=group_rows(groupings, scored.columns, table.labels, table.scores[:, 1], sizes, numbers),
            like_size=None if sizes is None else like_size(table.labels, table.scores[:, 1], sizes, numbers),
            clicks=clicks,
        ),
    )
    return replace(found, notes=[*data_notes(found), *_of_others(table, seen)])


def _decisions(table: PredictionTable, card: ModelCard) -> Decisions:
    stated = card.values["calibration"]
    calibration = Calibration(**{key: stated[key] for key in Calibration.__annotations__ if key in stated})
    if len(card.classes) > 2:
        return Decisions(calibration)
    prior = card.values.get("training", {}).get("prior_in_probability")
    return with_figures(Decisions(calibration, card.thresholds, prior), table)


def _of_others(table: PredictionTable, seen: set[str]) -> list[str]:
    """How well those are ranked whom the model was not trained on, where it was trained on some."""
    others = np.array([patient not in seen for patient in table.patients])
    if not seen or len(table.classes) > 2 or len(set(table.labels[others].tolist())) < 2:
        return []
    value = auc(table.labels[others], table.probabilities[others, 1])
    return [f"On the {int(others.sum())} cases of other patients the AUC is {value:.3f}."]


def _overlap(scored: Scored, job: Job | None, members: Members) -> tuple[dict[str, str], set[str]]:
    """Whether what scored them was trained on some of these patients (state and text), and their pseudonyms."""
    if job is None:
        return _unknown("A bundle does not say which patients it was trained on: whether these are among them"), set()
    cohorts = list(_cohorts(job))
    if {cohort["pseudonym_key"] for cohort in cohorts} != {scored.key}:
        return _unknown(
            "The pseudonyms of the job and of these data were made with different keys (MAEMC_HOME): whether it was "
            "trained on some of these patients"
        ), set()
    patients = set(scored.table.patients)
    trained_on = patients & {name for cohort in cohorts for name in cohort["pseudonyms"]}
    apart = trained_on & members.folds.keys()
    seen = trained_on - apart
    by_others = (
        f"{len(apart)} of the {len(patients)} patients were trained on: each is scored by the one member that did not "
        "see the patient."
    )
    if seen:
        text = f"LEAKY: {len(seen)} of the {len(patients)} patients were trained on. The figures are too good."
        return {"state": "known", "text": f"{text} {by_others}" if apart else text}, seen
    if job.settings["pretraining"] == UNKNOWN:
        return {"state": "unknown", "text": UNKNOWN_PATIENTS}, seen
    return {"state": "none", "text": by_others if apart else "None of these patients was trained on."}, seen


def _unknown(question: str) -> dict[str, str]:
    return {"state": "unknown", "text": f"{question} cannot be known. If it was, the figures are too good."}


def _cohorts(job: Job) -> Iterator[dict[str, Any]]:
    """The facts of what a training saw: its own data and those of its pre-training, where that is still there."""
    settings = job.settings
    yield settings["cohort"]
    if settings["from"] not in (SCRATCH, IMAGENET):
        with contextlib.suppress(InputError):
            yield Job(Path(settings["from"])).settings["cohort"]


def _facts(scored: Scored, card: ModelCard) -> list[tuple[str, str]]:
    training = card.values.get("training", {})
    facts = [("Model", f"{card.title} ({card.id} {card.version}, SHA-256 {card.sha256[:12]})")]
    if training.get("summary"):
        facts.append(("Trained", training["summary"]))
    if scored.gates:
        colors = (color for color in ("green", "grey", "amber", "red") if color in scored.gates)
        facts.append(("Fitness of the inputs", ", ".join(f"{scored.gates[color]} {color}" for color in colors)))
    return facts
