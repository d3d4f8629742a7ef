"""From a finished fusion job to a model bundle that asks for its clinical values by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from MAEMCLib.files.atomic import read_json
from MAEMCLib.models.bundle import Member, ModelBundle, save_bundle
from MAEMCLib.models.reference_case import measure

from ..jobs.job import Job, now
from ..jobs.revision import code_revision
from .export import FLOAT32, in_precision
from .fusion import finished_fusion, load_fusion_fold


def export_fusion(folder: Path, output: Path, texts: dict[str, Any], precision: str = FLOAT32) -> ModelBundle:
    """Write the bundle: a network for each fold, and on its card the fields that it asks for and a reference case.

    texts: as ``export.read_card_texts`` gives them. precision: of the networks. Raises InputError: no finished fusion;
    ModelError: damaged weights, a place that cannot be written.
    """
    card, members = card_and_members(folder, texts)
    return save_bundle(output, card, [in_precision(member, precision) for member in members], measure)


def card_and_members(folder: Path, texts: dict[str, Any]) -> tuple[dict[str, Any], list[Member]]:
    """What a bundle of a finished fusion is made of. Raises InputError, ModelError."""
    job = finished_fusion(folder)
    folds = job.settings["configuration"]["folds"]
    members = [Member("classifier", f"classifier-{n}", load_fusion_fold(folder, n)) for n in range(folds)]
    return _card(job, texts), members


def _card(job: Job, texts: dict[str, Any]) -> dict[str, Any]:
    settings, report = job.settings, read_json(job.folder / "metrics.json", "The job's metrics")
    configuration, cohort, classes = settings["configuration"], settings["cohort"], settings["classes"]
    two = len(classes) == 2
    training = {
        "summary": _summary(settings, report),
        "cases": cohort["cases"],
        "patients": cohort["patients"],
        "classes": cohort["classes"],
        "seen": cohort["seen"],
        "given": cohort["given"],
        "padded_fraction": cohort["padded_fraction"],
        "protocol": report["protocol"],
        "leaky": report["leaky"],
        "pretraining_of_folds": report["pretraining"],
        "folds": report["folds"],
        "seed": configuration["seed"],
        "configuration": configuration,
        "data": texts.get("data", ""),
        "attribution": texts.get("attribution", ""),
    }
    if two:
        training["prior_in_probability"] = report["prior_in_probability"]
    if two and classes[1] == "malignant-like":
        training["prevalence"] = cohort["classes"][classes[1]] / cohort["cases"]
    card = {
        **{key: texts.get(key, "") for key in ("id", "version", "title", "intended_use", "limitations", "licence")},
        "citation": texts.get("citation", ""),
        "architecture": {
            "encoder": configuration["encoder"],
            "decoder": None,
            "graph": {
                "branches": settings["branches"],
                "width": configuration["width"],
                "rounds": configuration["rounds"],
            },
        },
        "input": "nodule",
        "preprocessing": settings["preprocessing"],
        "fusion": "graph",
        "clinical": settings["clinical"],
        "classes": classes,
        "positive_class": classes[1] if two else "",
        "thresholds": report["thresholds"],
        "calibration": report["calibration"],
        "training": training,
        "metrics": {**report["metrics"], **report.get("two_class_metrics", {})},
        "by_class": report["by_class"],
        "confusion_matrix": report["confusion_matrix"],
        # The cards of all models name the AUC of what they have to beat so.
        "baselines": {name: {**row, "auc": row["macro_auc"]} for name, row in report["baselines"].items()},
        "comparisons": report["comparisons"],
        "notes": report["notes"],
        "created": now(),
        "software": {**settings["versions"], "exported by": code_revision()},
    }
    if two:
        card |= {"operating_points": report["operating_points"], "reliability": report["reliability"]}
    if cohort["diameter_mm"]:
        smallest, largest = cohort["diameter_mm"]
        card["applicability"] = {"smallest_diameter_mm": smallest, "largest_diameter_mm": largest}
    return card


def _summary(settings: dict[str, Any], report: dict[str, Any]) -> str:
    cohort, auc = settings["cohort"], report["metrics"]["macro_auc"]
    counts = ", ".join(f"{count} {name}" for name, count in cohort["classes"].items())
    values = ", ".join(cohort["given"]) or "no clinical values"
    leak = "; LEAKY: the pre-training saw patients evaluated here" if report["leaky"] else ""
    start = "from scratch" if settings["from"] == "scratch" else "from a pre-trained encoder"
    limits = "" if auc["low"] is None else f" (95 % interval {auc['low']:.2f}-{auc['high']:.2f} by patient)"
    return (
        f"Fusion of {', '.join(settings['branches'])} and {values}, trained {start} on {cohort['cases']} nodules of "
        f"{cohort['patients']} patients ({counts}); {report['folds']} folds by patient, out-of-fold macro AUC "
        f"{auc['value']:.3f}{limits}{leak}."
    )
