"""From a finished fine-tuning job to a model bundle whose card fills itself from the job."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import torch
from MAEMCLib.errors import InputError
from MAEMCLib.files.atomic import read_json
from MAEMCLib.models.bundle import Member, ModelBundle, save_bundle
from MAEMCLib.models.reference_case import measure
from MAEMCLib.networks.encoders import encoder_configuration

from ..engine.checkpoints import read_tensors
from ..jobs.job import Job, now
from ..jobs.revision import code_revision
from .fold_model import fold_folder, load_fold
from .kept_start import KeptStart, kept_start
from .starting_point import IMAGENET

_NEEDED = ("id", "version", "title", "intended_use")
_TEXTS = (*_NEEDED, "limitations", "licence", "citation", "attribution", "data", "label_type")
FLOAT32, BFLOAT16 = "float32", "bfloat16"
PRECISIONS = (FLOAT32, BFLOAT16)


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
    """Write the bundle of a finished fine-tuning job: a classifier and feature statistics for each fold, the
    autoencoder of its pre-training, where the job has kept it, and a reference case.

    texts: as ``read_card_texts`` gives them. precision: of the classifiers. What is missing is among the card's notes.
    Raises InputError: no finished fine-tuning; ModelError: damaged weights, a place that cannot be written.
    """
    job = finished_finetuning(folder)
    settings = job.settings
    if settings["configuration"]["augmentation"].get("mode") == "single":
        raise InputError(
            f"The model of {folder} was trained on single slices (mode=single, the ablation without data processing), "
            "and scoring makes montages. Fine-tune without mode=single.",
            "single-slice",
        )
    start = kept_start(job)
    members = [in_precision(member, precision) for member in _members(folder, settings["configuration"])]
    if start is not None and start.autoencoder:
        members.append(Member("decoder", "decoder", start.autoencoder))
    return save_bundle(output, _card(job, start, texts), members, measure)


def in_precision(member: Member, precision: str) -> Member:
    """A classifier with its weights in the precision; any other member as it is."""
    if precision == FLOAT32 or member.role != "classifier":
        return member
    kind = getattr(torch, precision)
    tensors = {n: t.to(kind) if t.is_floating_point() else t for n, t in member.tensors.items()}
    return Member(member.role, member.name, tensors)


def card_and_members(folder: Path, texts: dict[str, Any]) -> tuple[dict[str, Any], list[Member]]:
    """What a bundle of a finished fine-tuning is made of, its decoder aside. Raises InputError, ModelError."""
    job = finished_finetuning(folder)
    return _card(job, None, texts), _members(folder, job.settings["configuration"])


def finished_finetuning(folder: Path) -> Job:
    """The job. Raises InputError: no job, one of another kind, one that is not finished."""
    job = Job(folder)
    kind = job.settings.get("kind")
    if kind != "finetune":
        raise InputError(f"{folder} is a job of the kind '{kind}'. This takes a fine-tuning.", "job-kind")
    if job.status != "finished":
        raise InputError(f"The fine-tuning {folder} is {job.status}, not finished. Repeat its command.", "unfinished")
    return job


def _members(folder: Path, configuration: dict[str, Any]) -> list[Member]:
    encoder = encoder_configuration(configuration["encoder"])
    members = []
    for number in range(configuration["folds"]):
        members.append(Member("classifier", f"classifier-{number}", load_fold(folder, number, encoder).state_dict()))
        statistics = read_tensors(fold_folder(folder, number) / "statistics.safetensors")
        members.append(Member("statistics", f"statistics-{number}", statistics))
    return members


def _card(job: Job, start: KeptStart | None, texts: dict[str, Any]) -> dict[str, Any]:
    settings, report = job.settings, read_json(job.folder / "metrics.json", "The job's metrics")
    cohort, configuration = settings["cohort"], settings["configuration"]
    training = {
        "summary": _summary(settings, report, start),
        "cases": cohort["cases"],
        "patients": cohort["patients"],
        "malignant": cohort["malignant"],
        "benign": cohort["benign"],
        "prevalence": cohort["malignant"] / cohort["cases"],
        # What an adjustment to another prevalence starts from.
        "prior_in_probability": report["prior_in_probability"],
        "padded_fraction": cohort.get("padded_fraction"),
        "protocol": report["protocol"],
        "leaky": report["leaky"],
        "pretraining_of_folds": report["pretraining"],
        "folds": report["folds"],
        "seed": configuration["seed"],
        "configuration": configuration,
        "data": texts.get("data", ""),
        "attribution": texts.get("attribution", ""),
    }
    if start is not None and start.pretraining is not None:
        pretrained = start.pretraining
        training["pretraining"] = {**pretrained["cohort"], "configuration": pretrained["configuration"]}
    card = {
        **{key: texts.get(key, "") for key in ("id", "version", "title", "intended_use", "limitations", "licence")},
        "citation": texts.get("citation", ""),
        **{key: texts[key] for key in ("label_type",) if key in texts},
        "architecture": {
            "encoder": configuration["encoder"],
            "decoder": start.decoder if start is not None else None,
        },
        "input": "picture" if "view_share" in settings["preprocessing"] else "nodule",
        "preprocessing": settings["preprocessing"],
        "fusion": configuration["fusion"],
        "classes": ["benign-like", "malignant-like"],
        "positive_class": "malignant-like",
        "thresholds": report["thresholds"],
        "calibration": report["calibration"],
        "training": training,
        "metrics": report["metrics"],
        "counts": report["counts"],
        "operating_points": report["operating_points"],
        "reliability": report["reliability"],
        "baselines": report["baselines"],
        "comparisons": report["comparisons"],
        "notes": [*report["notes"], *([start.missing] if start is not None and start.missing else [])],
        "created": now(),
        "software": {**settings["versions"], "exported by": code_revision()},
    }
    if report["training_distances"]:
        card["training_distances"] = report["training_distances"]
    if cohort["diameter_mm"]:
        smallest, largest = cohort["diameter_mm"]
        card["applicability"] = {"smallest_diameter_mm": smallest, "largest_diameter_mm": largest}
    return card


def _summary(settings: dict[str, Any], report: dict[str, Any], start: KeptStart | None) -> str:
    cohort, auc = settings["cohort"], report["metrics"]["auc"]
    what = "cases with pictures" if "view_share" in settings["preprocessing"] else "nodules"
    parts = []
    if settings["from"] == IMAGENET:
        parts.append("Pre-trained on ImageNet")
    elif start is not None and start.missing:
        parts.append("Pre-trained")
    elif start is not None and start.pretraining is None:
        parts.append(f"Started from the model {start.name}")
    elif start is not None:
        pretrained = start.pretraining
        facts = pretrained["cohort"]
        parts.append(
            f"Pre-trained ({pretrained['method']}, {pretrained['epochs']} epochs) on {facts['cases']} {what} of "
            f"{facts['patients']} patients"
        )
    parts.append(
        f"fine-tuned on {cohort['cases']} {what} of {cohort['patients']} patients "
        f"({cohort['malignant']} malignant-like, {cohort['benign']} benign-like)"
    )
    leak = "; LEAKY: the pre-training saw patients evaluated here" if report["leaky"] else ""
    limits = "" if auc["low"] is None else f" (95 % interval {auc['low']:.2f}-{auc['high']:.2f} by patient)"
    text = "; ".join(parts) + (
        f"; {report['folds']} folds by patient, out-of-fold AUC {auc['value']:.3f}{limits}{leak}."
    )
    return text[0].upper() + text[1:]
