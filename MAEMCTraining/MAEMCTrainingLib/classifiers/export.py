"""From a job whose folds are trained to a model bundle, written or in memory, whose card fills itself from the job."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from MAEMCLib.errors import InputError
from MAEMCLib.files.atomic import read_json
from MAEMCLib.models.bundle import Member, ModelBundle, save_bundle
from MAEMCLib.models.card import ModelCard, name_problem, schema_of
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.models.reference_case import measure
from MAEMCLib.models.tensor_header import TensorHeader
from torch import Tensor

from ..characteristics.members import beside_members
from ..data.kinds import kind_of_job
from ..engine.checkpoints import read_tensors
from ..jobs.job import Job, finished_job, now
from ..jobs.revision import code_revision
from .cases import OWN_CLASSES
from .fold_model import fold_folder, fold_results, fold_weights, head_of
from .starting_point import IMAGENET, KeptStart, kept_start

_NEEDED = ("id", "version", "title", "intended_use")
_TEXTS = (*_NEEDED, "limitations", "licence", "citation", "attribution", "data", "label_type")
FLOAT32 = "float32"
FEWEST_SUBSOLID = 30
"""Training nodules that readers call subsolid, from which on a model counts as knowing them."""


def read_card_texts(path: Path) -> dict[str, Any]:
    """What only a person can say of a model, from a TOML file: id, version, title, intended_use, limitations,
    attribution, licence, citation, data, label_type ("rating" or
    "diagnosis"). Raises InputError: unreadable, a key that is unknown or missing.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"The card's texts {path} cannot be read ({error}).", "card") from error
    unknown, missing = sorted(values.keys() - set(_TEXTS)), [key for key in _NEEDED if key not in values]
    if unknown or missing:
        problem = f"unknown: {', '.join(unknown)}" if unknown else f"missing: {', '.join(missing)}"
        raise InputError(f"The card's texts {path} do not fit ({problem}). The keys are {', '.join(_TEXTS)}.", "card")
    return values


def export(folder: Path, output: Path, texts: dict[str, Any], precision: str = FLOAT32) -> ModelBundle:
    """Write the bundle of a finished fine-tuning or fusion: a classifier and feature statistics for each fold, the
    autoencoder of its pre-training, where the job has kept it, what is told beside the number, where its data have
    readers' ratings, and a reference case.

    texts: as ``read_card_texts`` gives them. precision: of the classifiers. What is missing is among the card's notes.
    Raises InputError: no finished job of the two; ModelError: damaged weights, a place that cannot be written.
    """
    job = finished_job(folder, "finetune", "fuse")
    if job.settings["configuration"]["augmentation"].get("mode") == "single":
        raise InputError(
            f"The model of {folder} was trained on single slices (mode=single, the ablation without data processing), "
            "and scoring makes montages. Train without mode=single.",
            "single-slice",
        )
    start = kept_start(job)
    members, card = _members(job, precision), _card(job, start, texts)
    results = fold_results(job.folder, job.settings["configuration"]["folds"])
    tested = {row["case_id"]: fold for fold, result in enumerate(results) for row in result["test"]}
    predictor = Predictor(ModelsInMemory.of(card, members), "cpu")
    beside = beside_members(job, tested, predictor, texts.get("attribution", ""))
    card |= {**beside.card, "notes": [*card["notes"], *beside.notes]}
    if start is not None and start.autoencoder:
        members.append(Member("decoder", "decoder", start.autoencoder))
    return save_bundle(output, card, [*members, *beside.members], measure)


def models_of_job(folder: Path, folds: Sequence[int] | None = None) -> ModelBundle:
    """The bundle that ``export`` would write, without texts and decoder and in memory alone: to score with the models
    of a finished job, of either head. folds: whose models; None: of all. Raises as ``export`` does.
    """
    job = finished_job(folder, "finetune", "fuse")
    return ModelsInMemory.of(_card(job, None, _texts(folder)), _members(job, folds=folds))


def _texts(folder: Path) -> dict[str, Any]:
    name = folder.resolve().name
    return {
        "id": "job" if name_problem(name, "job") else name,
        "version": "job",
        "title": f"Job {name}",
        "intended_use": "Research only.",
    }


@dataclass(frozen=True)
class ModelsInMemory(ModelBundle):
    """A bundle whose members were never written: they are what a training of this process's own left behind."""

    held: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)

    @classmethod
    def of(cls, card: Mapping[str, Any], members: Sequence[Member]) -> ModelsInMemory:
        """card: as ``save_bundle`` takes it. Raises ModelError."""
        held = {f"{member.name}.safetensors": member.tensors for member in members}
        listed = [{"role": member.role, "file": name} for member, name in zip(members, held, strict=True)]
        values = {
            "schema": schema_of(listed),
            **card,
            "members": listed,
            "files": {name: {"sha256": "0" * 64, "bytes": 1} for name in held},
        }
        return cls(Path(), ModelCard.parse(json.dumps(values).encode(), "", card["id"]), held)

    def header(self, name: str) -> dict[str, TensorHeader]:
        """The types and shapes of a member's tensors."""
        kinds = {torch.float32: "F32", torch.float64: "F64", torch.bfloat16: "BF16", torch.float16: "F16"}
        kinds[torch.int64] = "I64"
        return {key: TensorHeader(kinds[t.dtype], tuple(t.shape)) for key, t in self.held[name].items()}

    def tensors(self, name: str) -> dict[str, Tensor]:
        """A member's tensors."""
        return dict(self.held[name])


def _members(job: Job, precision: str = FLOAT32, folds: Sequence[int] | None = None) -> list[Member]:
    members = []
    for number in range(job.settings["configuration"]["folds"]) if folds is None else folds:
        weights = fold_weights(job.folder, number)
        if precision != FLOAT32:
            kind = getattr(torch, precision)
            weights = {name: t.to(kind) if t.is_floating_point() else t for name, t in weights.items()}
        members.append(Member("classifier", f"classifier-{number}", weights))
        statistics = fold_folder(job.folder, number) / "statistics.safetensors"
        if statistics.exists():  # fusions did not keep them always
            members.append(Member("statistics", f"statistics-{number}", read_tensors(statistics)))
    return members


def _card(job: Job, start: KeptStart | None, texts: dict[str, Any]) -> dict[str, Any]:
    settings, report = job.settings, read_json(job.folder / "metrics.json", "The job's metrics")
    configuration, cohort = settings["configuration"], settings["cohort"]
    classes = settings.get("classes", list(OWN_CLASSES))  # of a job from before fine-tuning had others
    graph = {}
    if settings["kind"] == "fuse":
        graph["graph"] = {"branches": settings["branches"], **{key: configuration[key] for key in ("width", "rounds")}}
    card = {
        **{key: texts.get(key, "") for key in (*_NEEDED, "limitations", "licence", "citation")},
        **{key: texts[key] for key in ("label_type",) if key in texts},
        "architecture": {
            "encoder": configuration["encoder"],
            "head": head_of(settings),
            "decoder": start.decoder if start is not None else None,
            **graph,
        },
        "input": kind_of_job(settings).name,
        "preprocessing": settings["preprocessing"],
        "fusion": configuration.get("fusion", "graph"),
        "clinical": settings.get("clinical", []),
        "classes": classes,
        "positive_class": classes[1] if len(classes) == 2 else "",
        "thresholds": report["thresholds"],
        "calibration": report["calibration"],
        "training": _training(settings, report, start, texts),
        "metrics": {**report["metrics"], **report.get("two_class_metrics", {})},
        # The cards of all models name the AUC of what they have to beat so.
        "baselines": {name: {"auc": row.get("macro_auc"), **row} for name, row in report["baselines"].items()},
        "comparisons": report["comparisons"],
        "notes": [*report["notes"], *([start.missing] if start is not None and start.missing else [])],
        "created": now(),
        "software": {**settings["versions"], "exported by": code_revision()},
    }
    of_some = ("counts", "by_class", "confusion_matrix", "operating_points", "thresholds_reason", "reliability",
               "training_distances", "training_errors")  # fmt: skip
    card |= {key: report[key] for key in of_some if report.get(key)}
    if cohort["diameter_mm"]:
        smallest, largest = cohort["diameter_mm"]
        card["applicability"] = {"smallest_diameter_mm": smallest, "largest_diameter_mm": largest}
        if cohort.get("subsolid", 0) >= FEWEST_SUBSOLID:
            card["applicability"]["subsolid_known"] = True
    return card


def _training(
    settings: dict[str, Any], report: dict[str, Any], start: KeptStart | None, texts: dict[str, Any]
) -> dict[str, Any]:
    """What the card says of the training."""
    cohort, configuration = settings["cohort"], settings["configuration"]
    of_some = ("malignant", "benign", "classes", "seen", "given")
    counts = cohort.get("classes") or {OWN_CLASSES[0]: cohort["benign"], OWN_CLASSES[1]: cohort["malignant"]}
    training = {
        "summary": _summary(settings, report, start, counts),
        "cases": cohort["cases"],
        "patients": cohort["patients"],
        **{key: cohort[key] for key in of_some if key in cohort},
        "padded_fraction": cohort.get("padded_fraction"),
        "protocol": report["protocol"],
        "leaky": report["leaky"],
        "pretraining_of_folds": report["pretraining"],
        "folds": report["folds"],
        "seed": configuration["seed"],
        "configuration": configuration,
        **{key: texts.get(key, "") for key in ("data", "attribution")},
    }
    if list(counts) == list(OWN_CLASSES):
        training["prevalence"] = counts[OWN_CLASSES[1]] / cohort["cases"]
    if "prior_in_probability" in report:  # what an adjustment to another prevalence starts from
        training["prior_in_probability"] = report["prior_in_probability"]
    if start is not None and start.pretraining is not None:
        pretrained = start.pretraining
        training["pretraining"] = {**pretrained["cohort"], "configuration": pretrained["configuration"]}
    return training


def _summary(settings: dict[str, Any], report: dict[str, Any], start: KeptStart | None, counts: dict[str, int]) -> str:
    cohort = settings["cohort"]
    what = "cases with pictures" if kind_of_job(settings).name == "picture" else "nodules"
    parts = [*_start_text(settings, start, what)]
    trained = "fine-tuned"
    if settings["kind"] == "fuse":
        values = ", ".join(cohort["given"]) or "no clinical values"
        trained = f"a fusion of {', '.join(settings['branches'])} and {values}, trained"
    classes = ", ".join(f"{count} {name}" for name, count in reversed(counts.items()))
    parts.append(f"{trained} on {cohort['cases']} {what} of {cohort['patients']} patients ({classes})")
    auc = report["metrics"].get("auc") or report["metrics"]["macro_auc"]
    leak = "; LEAKY: the pre-training saw patients evaluated here" if report["leaky"] else ""
    limits = "" if auc["low"] is None else f" (95 % interval {auc['low']:.2f}-{auc['high']:.2f} by patient)"
    kind = "AUC" if "auc" in report["metrics"] else "macro AUC"
    text = "; ".join(parts) + (
        f"; {report['folds']} folds by patient, out-of-fold {kind} {auc['value']:.3f}{limits}{leak}."
    )
    return text[0].upper() + text[1:]


def _start_text(settings: dict[str, Any], start: KeptStart | None, what: str) -> list[str]:
    """What the encoder had learned before, as the first part of a sentence; none from scratch."""
    if settings["from"] == IMAGENET:
        return ["Pre-trained on ImageNet"]
    if start is None:
        return []
    if start.missing:
        return ["Pre-trained"]
    if start.pretraining is None:
        return [f"Started from the model {start.name}"]
    facts = start.pretraining["cohort"]
    return [
        f"Pre-trained ({start.pretraining['method']}, {start.pretraining['epochs']} epochs) on {facts['cases']} {what} "
        f"of {facts['patients']} patients"
    ]
