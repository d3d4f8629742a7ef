"""The evaluation of a fine-tuning job: out-of-fold metrics with intervals, beside what they have to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from MAEMCLib.atomic import write_json
from MAEMCLib.montage import Preprocessing
from MAEMCLib.networks.vit import ViT

from ..configuration import FinetuningConfiguration
from ..data.cohort import Cohort
from ..data.folds import Fold
from ..finetuning import class_tokens, fold_result, write_predictions
from ..jobs import Job
from ..pretraining.run import PretrainedJob
from .baselines import logistic, majority
from .logistic import FEATURE_PENALTY
from .metrics import choose_thresholds, confusion, evaluate


def evaluate_job(
    job: Job,
    cohort: Cohort,
    folds: Sequence[Fold],
    run: FinetuningConfiguration,
    preprocessing: Preprocessing,
    pretrained: PretrainedJob | None,
    device: torch.device,
) -> dict[str, Any]:
    """Gather the folds' predictions, write predictions.csv and metrics.json, and return what the latter holds."""
    labels, patients = cohort.labels, cohort.patients
    number_of = {case.case_id: index for index, case in enumerate(cohort.cases)}
    probabilities, fold_of = np.zeros(len(cohort)), np.zeros(len(cohort), dtype=int)
    validation: list[tuple[int, float]] = []
    for fold in folds:
        result = fold_result(job.folder, fold.number)
        for row in result["test"]:
            probabilities[number_of[row["case_id"]]] = row["probability"]
            fold_of[number_of[row["case_id"]]] = fold.number
        validation += [(int(labels[number_of[r["case_id"]]]), r["probability"]) for r in result["validation"]]
    write_predictions(
        job.folder / "predictions.csv",
        [
            {
                "case_id": case.case_id,
                "patient_id": case.patient,
                "fold": int(fold_of[index]),
                "label": int(labels[index]),
                "probability": f"{probabilities[index]:.6f}",
            }
            for index, case in enumerate(cohort.cases)
        ],
    )
    thresholds, reason = choose_thresholds(*(np.array(values) for values in zip(*validation, strict=True)))
    balanced = thresholds["balanced"]

    def figures(values: np.ndarray, threshold: float = 0.5) -> dict[str, Any]:
        metrics = evaluate(labels, values, patients, threshold, folds=fold_of)
        return {name: asdict(metric) for name, metric in metrics.items()}

    baselines, unavailable = {}, {}
    baselines["majority class"] = figures(majority(labels))
    sizes = [case.diameter_mm for case in cohort.cases]
    missing = sum(size is None for size in sizes)
    if missing:
        unavailable["size alone"] = f"{missing} cases have no diameter_mm in the manifest"
    else:
        baselines["size alone"] = figures(logistic(np.array(sizes, dtype=float)[:, None], labels, folds))
    untrained = ViT(run.encoder, seed=run.seed + 1)
    encoders = {"untrained encoder, frozen": untrained}
    if pretrained is not None:
        frozen = ViT(run.encoder)
        frozen.load_state_dict(pretrained.module.encoder_state())
        encoders["pre-trained encoder, frozen"] = frozen
    for name, encoder in encoders.items():
        tokens = class_tokens(encoder, cohort, np.arange(len(cohort)), preprocessing, device)
        baselines[name] = figures(logistic(tokens.flatten(1).numpy(), labels, folds, FEATURE_PENALTY))
    settings = job.settings
    report = {
        "protocol": settings["protocol"],
        "leaky": settings["leaky"],
        "cases": len(cohort),
        "patients": len(np.unique(patients)),
        "malignant": int((labels == 1).sum()),
        "benign": int((labels == 0).sum()),
        "folds": run.folds,
        "metrics": figures(probabilities, balanced),
        "counts": confusion(labels, probabilities, balanced),
        "thresholds": thresholds,
        "calibration": {
            "calibrated": False,
            "reason": reason or "no calibration was fitted: probabilities are the network's own",
        },
        "baselines": baselines,
        "baselines_unavailable": unavailable,
        "notes": _notes(settings["leaky"], reason, int((labels == 0).sum()), int((labels == 1).sum())),
    }
    write_json(job.folder / "metrics.json", report)
    return report


def _notes(leaky: bool, reason: str | None, benign: int, malignant: int) -> list[str]:
    notes = ["Intervals: 95 %, 2000 bootstrap samples of patients. Predictions are out of fold."]
    if leaky:
        notes.append("LEAKY: the pre-training saw patients that are evaluated here (the published protocol).")
    if reason:
        notes.append(f"All thresholds are 0.5: {reason}.")
    if min(benign, malignant) < 20:
        kind = "benign" if benign <= malignant else "malignant"
        notes.append(
            f"Only {min(benign, malignant)} {kind} cases: the intervals are wide; rank nothing by these figures."
        )
    return notes


def format_table(report: dict[str, Any]) -> str:
    """The report as a table of text."""
    columns = {
        "auc": "AUC",
        "auc_within_folds": "AUC within folds",
        "accuracy": "ACC",
        "sensitivity": "SEN",
        "specificity": "SPE",
        "ppv": "PPV",
        "npv": "NPV",
        "brier": "Brier",
    }
    rows = [("this model", report["metrics"]), *report["baselines"].items()]
    width = max(len(name) for name, _ in rows)
    lines = [
        f"{report['cases']} cases of {report['patients']} patients ({report['malignant']} malignant, "
        f"{report['benign']} benign), {report['folds']} folds by patient, protocol {report['protocol']}",
        " " * width + "".join(f"  {head:>18}" for head in columns.values()),
    ]
    for name, metrics in rows:
        lines.append(f"{name:<{width}}" + "".join(f"  {_cell(metrics[key]):>18}" for key in columns))
    counts = report["counts"]
    lines.append(
        f"Threshold {report['thresholds']['balanced']:.3f}: "
        f"TP {counts['tp']}, FP {counts['fp']}, TN {counts['tn']}, FN {counts['fn']}"
    )
    lines += [f"No baseline '{name}': {reason}." for name, reason in report["baselines_unavailable"].items()]
    return "\n".join(lines + report["notes"])


def _cell(metric: dict[str, Any]) -> str:
    if metric["value"] is None:
        return "-"
    return f"{metric['value']:.3f} ({metric['low']:.2f}-{metric['high']:.2f})"
