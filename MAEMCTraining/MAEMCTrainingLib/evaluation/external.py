"""A bundle, or the models of a finished training, on other labeled data: what a hospital does before it trusts one.

The whole model scores each case through ``MAEMCLib``'s own ``Predictor``, so that the numbers are those of
``maemc batch``; a cache gives what it holds. A case of several pictures has the mean of their log-odds, as in training.
Thresholds and calibration are the model's; nothing is chosen on the data.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import read_manifest
from MAEMCLib.cases.pseudonyms import key_name, pseudonym, pseudonym_key
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.files.atomic import make_folder
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.models.bundle import ModelBundle
from MAEMCLib.models.card import ModelCard
from MAEMCLib.models.reference_case import open_predictor
from MAEMCLib.models.store import find_model
from MAEMCLib.results import NoduleResult, Prediction
from MAEMCLib.scoring import CaseScorer
from scipy.special import softmax

from ..classifiers.cases import LABEL, OWN_CLASSES, labeled
from ..classifiers.export import models_of_job
from ..classifiers.starting_point import IMAGENET, SCRATCH, UNKNOWN, UNKNOWN_PATIENTS
from ..data.cohort import join
from ..data.kinds import KINDS
from ..data.kinds.picture import case_of
from ..data.parts import FIRST_ROW
from ..data.store import open_store
from ..jobs.job import Job
from ..statistics.calibration import Calibration
from ..statistics.metrics import auc
from .baselines import SIZE
from .evaluation import DataFacts, Decisions, Evaluation, measure, with_figures
from .notes import data_notes
from .page import write_evaluation
from .predictions import PredictionTable

_TOGETHER = 16
_LEAST = 1e-7  # a probability of 0 would have no log-odds
Progress = Callable[[int, int], None]


class Failed(NamedTuple):
    """A case that could not be scored: the user's own case_id, its row of the manifest, the reason in full."""

    case_id: str
    row: int
    reason: str


@dataclass(frozen=True)
class Scored:
    """Other data after scoring.

    table: case_ids are the user's own, of a cache pseudonyms; beside the model stands the size, where all are known.
    unsized: cases without a diameter. key: name of the pseudonyms' key. failed: what could not be scored. unlabeled:
    cases left out for want of a label. gates: how many cases have each color; empty for a cache.
    """

    table: PredictionTable
    unsized: int
    key: str
    failed: list[Failed]
    unlabeled: int
    gates: Mapping[str, int]


def evaluate_on(
    reference: str,
    data: Path,
    output: Path,
    home: Path,
    device: str = "auto",
    progress: Progress = lambda done, total: None,
    target: str | None = None,
) -> tuple[Evaluation, list[Failed]]:
    """Score the labeled cases of a manifest or a cache; write metrics.json, predictions.csv and report.html to output.

    reference: a finished job, a bundle or a model's id. target: the manifest's column of the class; None: its own, the
    label. Returns the evaluation, and the cases that could not be scored with their reasons. Raises ModelError: no such
    bundle, damaged; InputError: an unfinished job, data without labels, of one class or of another slice step;
    UsageError: output is a job's folder, a model of classes that no column is named for.
    """
    make_output(output)
    job = Job(Path(reference)) if (Path(reference) / "job.json").is_file() else None
    bundle = ModelBundle.open(find_model(reference)) if job is None else models_of_job(Path(reference))
    column = _target(bundle.card, target)
    predictor = open_predictor(bundle, device)
    if data.is_dir():
        scored = score_cache(predictor, data, progress)
    else:
        scored = score_manifest(predictor, data, home, column, progress)
    _check(scored, data, bundle.card, column)
    found = _evaluate(scored, bundle.card, job)
    write_evaluation(found, scored.table, output)
    return found, scored.failed


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


def _evaluate(scored: Scored, card: ModelCard, job: Job | None) -> Evaluation:
    table, decisions = scored.table, _decisions(scored.table, card)
    overlap, seen = _overlap(scored, job)
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


def _overlap(scored: Scored, job: Job | None) -> tuple[dict[str, str], set[str]]:
    """Whether the model was trained on some of these patients (state and text), and their pseudonyms."""
    if job is None:
        return _unknown("A bundle does not say which patients it was trained on: whether these are among them"), set()
    cohorts = list(_cohorts(job))
    if {cohort["pseudonym_key"] for cohort in cohorts} != {scored.key}:
        return _unknown(
            "The pseudonyms of the job and of these data were made with different keys (MAEMC_HOME): whether it was "
            "trained on some of these patients"
        ), set()
    patients = set(scored.table.patients)
    seen = patients & {name for cohort in cohorts for name in cohort["pseudonyms"]}
    if seen:
        text = f"LEAKY: {len(seen)} of the {len(patients)} patients were trained on. The figures are too good."
        return {"state": "known", "text": text}, seen
    if job.settings["pretraining"] == UNKNOWN:
        return {"state": "unknown", "text": UNKNOWN_PATIENTS}, seen
    return {"state": "none", "text": "None of these patients was trained on."}, seen


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


def score_manifest(predictor: Any, path: Path, home: Path, target: str, progress: Progress) -> Scored:
    """target: the column of the class. Raises InputError for a manifest that cannot be read, a class that the model
    does not know."""
    manifest, card = read_manifest(path), predictor.card
    rows = [row for row in manifest.rows if row.kind in KINDS[card.input].rows]
    row_of = {row.case_id: number + FIRST_ROW for number, row in enumerate(manifest.rows)}
    labels = {row.case_id: _label(row, card, target, row_of[row.case_id]) for row in rows}
    labeled_rows = [row for row in rows if labels[row.case_id] is not None]
    results, failed = {}, []
    with CaseScorer(card, lambda: predictor) as scorer:
        for together in card.kind.groups(labeled_rows):
            for row, found in zip(together, scorer.score(together), strict=True):
                if found.result.status == "failed":
                    failed.append(Failed(row.case_id, row_of[row.case_id], found.message or found.result.message))
                else:
                    results[row.case_id] = found.result
            progress(len(results) + len(failed), len(labeled_rows))
    cases: dict[tuple[str, ...], list[Case]] = {}
    for row in labeled_rows:
        if row.case_id in results:
            # Slices of one volume are one case, as in training.
            cases.setdefault(case_of(row), []).append(row)
    first = [rows[0] for rows in cases.values()]
    key = pseudonym_key(home)
    table, unsized = _table(
        card,
        first,
        [row_of[row.case_id] for row in first],
        [pseudonym("P", row.patient_id, key, row.values.get("pseudonym_key")) for row in first],
        [labels[row.case_id] for row in first],
        [[_probabilities(results[row.case_id], card) for row in rows] for rows in cases.values()],
    )
    gates = dict(Counter(results[row.case_id].gate for row in first))
    return Scored(table, unsized, key_name(key), failed, len(rows) - len(labeled_rows), gates)


def _label(row: Case, card: ModelCard, target: str, number: int) -> int | None:
    """The number of the row's class; None where it has none."""
    text = row.values.get(target, "") if target != LABEL else "" if row.label is None else OWN_CLASSES[row.label]
    if not text:
        return None
    if text not in card.classes:
        raise InputError(
            f"Row {number} of the manifest has the {target} '{text}', and the model knows {', '.join(card.classes)}. "
            "Correct it, name another --target, or leave the cell empty.",
            "class",
        )
    return card.classes.index(text)


def _probabilities(result: NoduleResult | Prediction, card: ModelCard) -> list[float]:
    if result.class_probabilities:
        return [result.class_probabilities[name] for name in card.classes]
    return [1 - result.probability, result.probability]


def _table(
    card: ModelCard,
    cases: Sequence[Any],
    rows: Sequence[int],
    patients: Sequence[str],
    labels: Sequence[int],
    members: Sequence[Sequence[Sequence[float]]],
) -> tuple[PredictionTable, int]:
    """The predictions, and how many cases have no diameter. members: the probabilities of each case's images, of which
    a case has the mean of their log-odds, as in training."""
    probabilities = [
        found[0] if len(found) == 1 else softmax(np.log(np.clip(found, _LEAST, 1 - _LEAST)).mean(axis=0)).tolist()
        for found in members
    ]
    classes, sizes = tuple(card.classes), [case.diameter_mm for case in cases]
    unsized = sizes.count(None)
    table = PredictionTable(
        case_ids=[case.case_id for case in cases],
        patients=patients,
        labels=np.array(labels, dtype=int),
        probabilities=np.array(probabilities, dtype=float).reshape(-1, len(classes)),
        others={} if unsized or len(classes) > 2 else {SIZE: np.array(sizes, dtype=float)},
        rows=rows,
        classes=classes,
        by_class=classes != OWN_CLASSES or card.fusion == "graph",
    )
    return table, unsized


def score_cache(predictor: Any, path: Path, progress: Progress) -> Scored:
    """Raises InputError for a cache of other images than the model's, UsageError for one without what it asks for."""
    card = predictor.card
    if card.clinical:
        raise UsageError(
            f"The model {card.id} asks for {', '.join(one.name for one in card.clinical)}, which a cache does not hold"
            ". Give the manifest.",
            "clinical",
        )
    everyone = join([open_store(path)])
    if everyone.kind.name != card.input:
        raise InputError(f"{path} holds {everyone.kind.title}, and the model {card.id} scores others.", "kind")
    step, wanted = (getattr(settings, "slice_step_mm", None) for settings in (everyone.settings, card.preprocessing))
    if step != wanted:
        raise InputError(
            f"The cache's slices are {step} mm apart, the model wants {wanted:g} mm. Build the cache with --slice-step "
            f"{wanted:g}, or give the manifest.",
            "slice-step",
        )
    cohort = labeled(everyone).main
    images = ((case, image) for case in range(len(cohort)) for image in cohort.kind.scored(cohort, case))
    members: list[list[list[float]]] = [[] for _ in cohort.cases]
    while together := list(islice(images, _TOGETHER)):
        predictions = predictor.predict([Prepared(image) for _, image in together])
        for (owner, _), found in zip(together, predictions, strict=True):
            members[owner].append(_probabilities(found, card))
        progress(together[-1][0] + 1, len(cohort))
    table, unsized = _table(
        card,
        cohort.cases,
        [case.row for case in cohort.cases],
        [case.patient for case in cohort.cases],
        cohort.labels.tolist(),
        members,
    )
    return Scored(table, unsized, cohort.pseudonym_key, [], len(everyone) - len(cohort), {})
