"""A bundle, or the models of a finished fine-tuning, on other labeled data: what a hospital does before it trusts one.

The whole model scores each case through ``MAEMCLib``'s own ``Predictor``, so that the numbers are those of
``maemc batch``. Thresholds and calibration are the model's; nothing is chosen on the data.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import read_manifest
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.files.atomic import write_json
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.models.bundle import ModelBundle
from MAEMCLib.models.card import ModelCard
from MAEMCLib.models.opening import open_predictor
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.models.store import find_model
from MAEMCLib.scoring import CaseScorer
from scipy.special import expit, logit

from ..classifiers.export import bundle_of_job
from ..classifiers.protocol import UNKNOWN, UNKNOWN_PATIENTS
from ..classifiers.starting_point import IMAGENET, SCRATCH
from ..data.cohort import Cohort, join, labeled
from ..data.kinds.nodule import scored_region
from ..data.kinds.picture import case_of
from ..data.parts import FIRST_ROW
from ..data.pseudonyms import key_name, patient_pseudonym, pseudonym_key
from ..data.store import is_cache, open_store
from ..jobs.job import Job
from .calibration import reliability
from .delong import compare
from .metrics import INTERVALS, auc, confusion, evaluate, rank_only
from .operating_points import FEWEST_CASES, at_points
from .page import write_page
from .predictions import PredictionTable

_TOGETHER = 16
Progress = Callable[[int, int], None]


class Failed(NamedTuple):
    """A case that could not be scored: the user's own case_id, its row of the manifest, the reason in full."""

    case_id: str
    row: int
    reason: str


@dataclass(frozen=True)
class Scored:
    """Other data after scoring. case_ids: the user's own, of a cache pseudonyms. rows: of the manifest. sizes: (cases,)
    mm, NaN where unknown. key: name of the pseudonyms' key. failed: what could not be scored. unlabeled: cases left out
    for want of a label. gates: how many cases have each color; empty for a cache.
    """

    case_ids: list[str]
    rows: list[int]
    patients: list[str]
    labels: np.ndarray
    probabilities: np.ndarray
    sizes: np.ndarray
    key: str
    failed: list[Failed]
    unlabeled: int
    gates: dict[str, int]


def evaluate_on(
    reference: str,
    data: Path,
    output: Path,
    home: Path,
    device: str = "auto",
    progress: Progress = lambda done, total: None,
) -> tuple[dict[str, Any], list[Failed]]:
    """Score the labeled cases of a manifest or a cache; write metrics.json, predictions.csv and report.html to output.

    reference: a finished fine-tuning job, a bundle or a model's id. Returns what metrics.json holds, and the cases that
    could not be scored with their reasons. Raises ModelError: no such bundle, damaged; InputError: an unfinished job,
    data without labels, of one class or of another slice step; UsageError: output is a job's folder.
    """
    make_output(output)
    with _opened(reference, output) as (bundle, job):
        if bundle.card.fusion == "graph":
            raise UsageError(
                f"The model {bundle.card.id} fuses images and clinical values; this evaluates models of images alone. "
                "Score the data with maemc batch.",
                "fusion",
            )
        predictor = open_predictor(bundle, device)
        if is_cache(data):
            scored = _score_cache(predictor, join([open_store(data)]), progress)
        else:
            scored = _score_manifest(predictor, data, home, progress)
        _check(scored, data)
        table, report = _judge(scored, bundle.card, job)
    table.write(output / "predictions.csv")
    write_page(output / "report.html", report, table)
    write_json(output / "metrics.json", report)
    return report, scored.failed


def make_output(folder: Path) -> None:
    """Make the folder before anything slow begins. Raises UsageError for a job's folder, InputError where it cannot."""
    if (folder / "job.json").exists():
        raise UsageError(f"{folder} holds a job, whose own results would be replaced. Choose another --output.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"The folder {folder} cannot be written ({error.strerror}). Choose another --output.", "not-written"
        ) from error


@contextlib.contextmanager
def _opened(reference: str, output: Path) -> Iterator[tuple[ModelBundle, Job | None]]:
    """The verified bundle; of a job the one that export would write, for as long as the block lasts."""
    if not (Path(reference) / "job.json").is_file():
        yield ModelBundle.open(find_model(reference)), None
        return
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=output) as scratch:
        yield bundle_of_job(Path(reference), Path(scratch) / "bundle"), Job(Path(reference))


def _score_manifest(predictor: Predictor, path: Path, home: Path, progress: Progress) -> Scored:
    manifest = read_manifest(path)
    flat = predictor.card.input == "picture"
    rows = [row for row in manifest.rows if (row.kind != "nodule") == flat]
    known = [row for row in rows if row.label is not None]
    row_of = {row.case_id: number + FIRST_ROW for number, row in enumerate(manifest.rows)}
    results, failed = {}, []
    with CaseScorer(predictor.card, lambda: predictor) as scorer:
        for together in predictor.card.kind.groups(known):
            for row, found in zip(together, scorer.score(together), strict=True):
                if found.result.status == "failed":
                    failed.append(Failed(row.case_id, row_of[row.case_id], found.said or found.result.message))
                else:
                    results[row.case_id] = found.result
            progress(len(results) + len(failed), len(known))
    cases: dict[tuple[str, ...], list[Case]] = {}
    for row in known:
        if row.case_id in results:
            # Slices of one volume are one case, as in training.
            cases.setdefault(case_of(row), []).append(row)
    kept = [members[0] for members in cases.values()]
    gates: dict[str, int] = {}
    for row in kept:
        gates[results[row.case_id].gate] = gates.get(results[row.case_id].gate, 0) + 1
    key = pseudonym_key(home)
    return Scored(
        case_ids=[row.case_id for row in kept],
        rows=[row_of[row.case_id] for row in kept],
        patients=[patient_pseudonym(row.patient_id, row.values.get("pseudonym_key") or None, key) for row in kept],
        labels=np.array([row.label for row in kept], dtype=int),
        probabilities=np.array(
            [_joined([results[row.case_id].probability for row in members]) for members in cases.values()]
        ),
        sizes=np.array([np.nan if row.diameter_mm is None else row.diameter_mm for row in kept], dtype=float),
        key=key_name(key),
        failed=failed,
        unlabeled=len(rows) - len(known),
        gates=gates,
    )


def _joined(probabilities: list[float]) -> float:
    """The probability of a case of several pictures: their mean log-odds, as in training."""
    if len(probabilities) == 1:
        return probabilities[0]
    return float(expit(np.mean(logit(np.clip(probabilities, 1e-7, 1 - 1e-7)))))


def _score_cache(predictor: Predictor, everyone: Cohort, progress: Progress) -> Scored:
    wanted = predictor.card.preprocessing.slice_step_mm
    step = everyone.settings.slice_step_mm
    if step != wanted:
        raise InputError(
            f"The cache's slices are {step} mm apart, the model wants {wanted:g} mm. Build the cache "
            f"with --slice-step {wanted:g}, or give the manifest.",
            "slice-step",
        )
    cohort = labeled(everyone)
    probabilities: list[float] = []
    for start in range(0, len(cohort), _TOGETHER):
        indices = range(start, min(start + _TOGETHER, len(cohort)))
        predictions = predictor.predict([Prepared(scored_region(cohort, index)) for index in indices])
        probabilities += [prediction.probability for prediction in predictions]
        progress(len(probabilities), len(cohort))
    cases = cohort.cases
    return Scored(
        case_ids=[case.case_id for case in cases],
        rows=[case.row for case in cases],
        patients=[case.patient for case in cases],
        labels=cohort.labels,
        probabilities=np.array(probabilities),
        sizes=np.array([np.nan if case.diameter_mm is None else case.diameter_mm for case in cases], dtype=float),
        key=cohort.pseudonym_key,
        failed=[],
        unlabeled=len(everyone) - len(cohort),
        gates={},
    )


def _check(scored: Scored, data: Path) -> None:
    if not len(scored.labels):
        if scored.failed:
            case, _, reason = scored.failed[0]
            raise InputError(
                f"None of the {len(scored.failed)} labeled cases could be scored: {case}: {reason}", "none", [case]
            )
        raise UsageError(
            f"No case of {data} that the model takes has a label. Fill the manifest's label column with 0 or 1.",
            "no-labels",
        )
    if len(set(scored.labels.tolist())) < 2:
        kind = "malignant" if scored.labels[0] else "benign"
        raise InputError(
            f"All {len(scored.labels)} labeled cases of {data} are {kind}. An evaluation needs cases of both classes.",
            "single-class",
        )


def _judge(scored: Scored, card: ModelCard, job: Job | None) -> tuple[PredictionTable, dict[str, Any]]:
    labels = scored.labels
    others: dict[str, np.ndarray] = {}
    unavailable = {}
    missing = int(np.isnan(scored.sizes).sum())
    if missing:
        unavailable["size alone"] = f"{missing} cases have no diameter_mm"
    else:
        others["size alone"] = scored.sizes
    table = PredictionTable(
        scored.case_ids, scored.patients, labels, scored.probabilities, others=others, rows=scored.rows
    )
    patients = table.patient_numbers
    thresholds = card.thresholds
    metrics = evaluate(labels, table.probabilities, patients, thresholds["balanced"])
    overlap, seen = _overlap(scored, job)
    report = {
        "subject": f"{card.id} {card.version}" if job is None else job.folder.resolve().name,
        "evaluation": "other data",
        "model": None if job is not None else {"id": card.id, "version": card.version, "sha256": card.sha256},
        "leaky": False,
        "overlap": overlap,
        "cases": len(labels),
        "patients": len(np.unique(patients)),
        "malignant": int((labels == 1).sum()),
        "benign": int((labels == 0).sum()),
        "unlabeled": scored.unlabeled,
        "failed": [failed.row for failed in scored.failed],  # case_ids and reasons may name somebody
        "gates": scored.gates,
        "metrics": {key: asdict(metric) for key, metric in metrics.items()},
        "counts": confusion(labels, table.probabilities, thresholds["balanced"]),
        "thresholds": thresholds,
        "operating_points": at_points(labels, table.probabilities, patients, thresholds),
        "calibration": card.values["calibration"],
        "prior_in_probability": card.values.get("training", {}).get("prior_in_probability"),
        "reliability": reliability(labels, table.probabilities, patients),
        "baselines": {name: rank_only(labels, values, patients) for name, values in others.items()},
        "comparisons": {name: compare(labels, table.probabilities, v, patients) for name, v in others.items()},
        "baselines_unavailable": unavailable,
        "facts": _facts(scored, card),
    }
    report["notes"] = _notes(report, table, seen)
    return table, report


def _overlap(scored: Scored, job: Job | None) -> tuple[dict[str, str], set[str]]:
    """Whether the model was trained on some of these patients (state and text), and their pseudonyms."""
    unknown = "cannot be known. If it was, the figures are too good."
    if job is None:
        text = "A bundle does not say which patients it was trained on: whether these are among them"
        return {"state": "unknown", "text": f"{text} {unknown}"}, set()
    known, keys = set(), set()
    for cohort in _cohorts(job):
        known |= set(cohort["pseudonyms"])
        keys.add(cohort["pseudonym_key"])
    if keys != {scored.key}:
        text = (
            "The pseudonyms of the job and of these data were made with different keys (MAEMC_HOME): whether it was "
            "trained on some of these patients"
        )
        return {"state": "unknown", "text": f"{text} {unknown}"}, set()
    patients = set(scored.patients)
    seen = known & patients
    if not seen and job.settings["pretraining"] == UNKNOWN:
        return {"state": "unknown", "text": UNKNOWN_PATIENTS}, seen
    if not seen:
        return {"state": "none", "text": "None of these patients was trained on."}, seen
    text = f"LEAKY: {len(seen)} of the {len(patients)} patients were trained on. The figures are too good."
    return {"state": "known", "text": text}, seen


def _cohorts(job: Job) -> Iterator[dict[str, Any]]:
    """The facts of what a fine-tuning saw: its own data and those of its pre-training, where that is still there."""
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
        colors = [
            f"{scored.gates[color]} {color}" for color in ("green", "grey", "amber", "red") if color in scored.gates
        ]
        facts.append(("Fitness of the inputs", ", ".join(colors)))
    return facts


def _notes(report: dict[str, Any], table: PredictionTable, seen: set[str]) -> list[str]:
    notes = [INTERVALS, report["overlap"]["text"]]
    if seen:
        others = np.array([patient not in seen for patient in table.patients])
        if len(set(table.labels[others].tolist())) == 2:
            value = auc(table.labels[others], table.probabilities[others])
            notes.append(f"On the {int(others.sum())} cases of other patients the AUC is {value:.3f}.")
    calibration = report["calibration"]
    if calibration["calibrated"] and report["prior_in_probability"] is not None:
        share = report["malignant"] / report["cases"]
        notes.append(
            f"The probabilities assume a share of malignant cases of {report['prior_in_probability']:.3f}; here it is "
            f"{share:.3f}. The Brier score, ECE and intercept include that difference."
        )
    elif not calibration["calibrated"]:
        notes.append(f"The model is not calibrated: {calibration.get('reason', 'no reason is stated')}.")
    if set(report["thresholds"].values()) == {0.5}:
        notes.append("All thresholds of the model are 0.5: none was chosen from data.")
    rarer = min(report["benign"], report["malignant"])
    if rarer < FEWEST_CASES:
        kind = "benign" if report["benign"] <= report["malignant"] else "malignant"
        notes.append(f"Only {rarer} {kind} cases: the intervals are wide; rank nothing by these figures.")
    if report["unlabeled"]:
        notes.append(f"{report['unlabeled']} cases have no label and are left out.")
    if report["failed"]:
        notes.append(
            f"{len(report['failed'])} labeled cases could not be scored and are left out: metrics.json has their "
            "rows in the manifest."
        )
    if "size alone" in report["baselines"]:
        notes.append("Size alone ranks by the diameter; nothing is fitted.")
    return notes
