"""The end of a fold: what its model makes of cases that it has not seen, kept in result.json beside its weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from MAEMCLib.files.atomic import replacing, write_json
from MAEMCLib.networks.configuration import CLINICAL
from MAEMCLib.networks.encoders import build_encoder
from safetensors.torch import save_file
from torch import Tensor

from ..data.folds import Division
from ..data.parts import TEST, VALIDATION
from ..engine.session import Session
from ..statistics.logistic import FEATURE_PENALTY, fit_classes
from .fold_model import feature_statistics, features, predict
from .task import ClassifierTask

Trained = dict[str, tuple[ClassifierTask, int | None]]
"""{variant: its task with the best weights, and the epoch that they are of}."""


def variant_folder(name: str) -> str:
    """Where in a fold's folder a variant is trained; empty for the model itself."""
    return name.replace(" ", "-")


def finish_fold(
    session: Session, division: Division, trained: Trained, place: Path, pretrained: dict[str, Tensor] | None
) -> None:
    """Predict the test part once and the validation part, keep the features' statistics; result.json comes last.

    pretrained: the encoder as the pre-training left it; a logistic model on its features is a baseline.
    """
    (task, best_epoch), device = trained[""], session.device
    task.module.to(device).eval()
    fold, cohort = task.fold, task.cohort
    features_of = {name: task.features(getattr(fold, name), device) for name in ("train", "validation", "test")}
    # What a model knows is measured on other cases than what is new to it: those of its test part, or the validation.
    familiar = ("train",) if division.by_split else ("train", "validation")
    seen = np.concatenate([cohort.seen[getattr(fold, name)] for name in familiar])
    statistics = feature_statistics(torch.cat([features_of[name] for name in familiar]), seen, cohort.branches)
    with replacing(place / "statistics.safetensors") as temporary:
        save_file(statistics, temporary)
    result: dict[str, Any] = {"fold": fold.number, "best_epoch": best_epoch, "trained_on": len(fold.train)}
    for name in ("validation", "test"):
        result[name] = _rows(task, getattr(fold, name), features_of[name])
    result["parts"] = {
        name: _rows(task, cases, task.features(cases, device))
        for name, cases in ((VALIDATION, division.validation), (TEST, division.test))
        if len(cases)
    }
    if pretrained is not None:
        result["frozen"] = _frozen_baseline(task, pretrained, device)
    for name, (other, _) in trained.items():
        if name:
            other.module.to(device)
            result[variant_folder(name).replace("-", "_")] = _rows(other, fold.test, other.features(fold.test, device))
    write_json(place / "result.json", result)
    for done in ("checkpoints/last", "pretraining", *filter(None, map(variant_folder, trained))):
        shutil.rmtree(place / done, ignore_errors=True)  # a finished fold is not continued
    session.job.event(phase="fold", fold=fold.number, best_epoch=best_epoch, cases=len(fold.test))


def _rows(task: ClassifierTask, cases: np.ndarray, values: Tensor) -> list[dict[str, Any]]:
    """What result.json keeps of cases: the probabilities of the model and of each observed branch by itself.

    values: the cases' features.
    """
    cohort = task.cohort
    trained = np.isin(np.arange(len(cohort.branches)), task.branches)
    seen = cohort.seen[cases] & trained
    logits = predict(task.module, values, seen, cohort.values[cases], cohort.given[cases])
    names = [*cohort.branches, CLINICAL][: logits.branches.shape[1]]
    rows = _case_rows(task, cases, logits.fused.softmax(dim=1))
    branches = logits.branches.softmax(dim=2).tolist()
    for row, own, observed in zip(rows, branches, logits.observed.tolist(), strict=True):
        row["branches"] = {name: own[k] for k, name in enumerate(names) if observed[k]}
    return rows


def _case_rows(task: ClassifierTask, cases: np.ndarray, chances: Tensor) -> list[dict[str, Any]]:
    rows = []
    for case, own in zip(cases.tolist(), chances.tolist(), strict=True):
        entry = task.cohort.cases[case]
        row = {"case_id": entry.case_id, "patient": entry.patient, "row": entry.row}
        row |= {"label": int(task.cohort.labels[case]), "probabilities": own}
        rows.append(row | ({"probability": own[1]} if len(own) == 2 else {}))
    return rows


def _frozen_baseline(task: ClassifierTask, pretrained: dict[str, Tensor], device: torch.device) -> list[dict[str, Any]]:
    """Probabilities of the test part by a logistic model on the features of the encoder before it was trained on."""
    fold, cohort = task.fold, task.cohort
    frozen = build_encoder(task.run.encoder)
    frozen.load_state_dict(pretrained)
    fitted = np.concatenate([fold.train, fold.validation])
    values, tested = (features(frozen, task.images, cases, device).flatten(1) for cases in (fitted, fold.test))
    weights, biases = fit_classes(values.numpy(), cohort.labels[fitted], FEATURE_PENALTY)
    logits = tested @ torch.from_numpy(weights).T + torch.from_numpy(biases)
    return _case_rows(task, fold.test, logits.softmax(dim=1))
