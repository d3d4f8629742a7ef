"""What an export adds to a bundle: a head for each fold's network, the training nodules, and what the card says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from MAEMCLib.characteristics.alike import TrainingNodules, packed
from MAEMCLib.characteristics.ratings import HIGHEST, LOWEST
from MAEMCLib.errors import InputError
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.models.bundle import Member
from MAEMCLib.models.predictor import Predictor

from ..jobs.job import Job
from .fitting import Head, fit_head
from .judging import as_json, judge_alike, judge_head
from .rated import RatedNodules, names_of, rated_nodules, readers_mean, thumbnails

NAMED = 0
"""Number of the network whose features find alike nodules: of one, so that distances are comparable."""
_TOGETHER = 32


@dataclass(frozen=True)
class Beside:
    """members: of the bundle. card: its sections. notes: what is missing."""

    members: list[Member] = field(default_factory=list)
    card: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def beside_members(job: Job, tested: Mapping[str, int], predictor: Predictor, attribution: str) -> Beside:
    """What a job's data allow to tell beside the number. tested: as of ``rated_nodules``. predictor: of the bundle's
    classifiers, one for each fold.

    attribution: whose images the training nodules are. Without it no picture and no feature of them goes into a bundle:
    somebody has to say that they may be handed on.
    """
    try:
        nodules = rated_nodules(job, tested)
    except InputError as error:
        return Beside(notes=[f"Neither words for characteristics nor alike nodules: {error.anonymous}"])
    if nodules is None:
        return Beside()
    features = _features(nodules, predictor)
    members, section = _heads(nodules, features)
    card: dict[str, Any] = {"characteristics": section}
    if not attribution:
        note = "No alike nodules: the card's texts do not say whose images the training's are (attribution)."
        return Beside(members, card, [note])
    arrays = packed(
        features[NAMED],
        nodules.patients,
        nodules.diameters_mm,
        np.nan_to_num(nodules.ratings),
        thumbnails(nodules),
    )
    members.append(Member("alike", "alike", _tensors(arrays)))
    judged = judge_alike(nodules, TrainingNodules.of(arrays, nodules.names), features[NAMED], NAMED)
    card["alike"] = {
        "names": list(nodules.names),
        "member": NAMED,
        "nodules": len(nodules),
        "patients": len(np.unique(nodules.patients)),
        "judged": int((nodules.folds == NAMED).sum()),
        "agreement": {name: as_json(figures) for name, figures in judged.items()},
        "attribution": attribution,
    }
    return Beside(members, card)


def _features(nodules: RatedNodules, predictor: Predictor) -> np.ndarray:
    """(members, N, width): what scoring computes of each nodule, mean over the planes that the model is shown."""
    parts = []
    for start in range(0, len(nodules), _TOGETHER):
        some = range(start, min(start + _TOGETHER, len(nodules)))
        parts.append(predictor.features([Prepared(nodules.region(index)) for index in some]))
    return np.concatenate(parts, axis=1)


def _heads(nodules: RatedNodules, features: np.ndarray) -> tuple[list[Member], dict[str, Any]]:
    """A head for each network, and the card's section: each nodule judged by the one whose fold tests its patient."""
    names, figures, shown = names_of(nodules.names), {}, []
    fitted: list[list[Head]] = [[] for _ in features]
    for name in names:
        ratings = nodules.ratings[:, nodules.names.index(name)]
        mean, readers = readers_mean(ratings), np.isfinite(ratings).sum(axis=1)
        predicted = np.full(len(nodules), np.nan)
        for fold, own in enumerate(features):
            tested = nodules.folds == fold
            trained = ~tested & (readers > 0)
            head = fit_head(own[trained], mean[trained], readers[trained])
            predicted[tested] = np.clip(own[tested] @ head.weight + head.bias, LOWEST, HIGHEST)
            fitted[fold].append(head)
        judged = judge_head(ratings, predicted, nodules.diameters_mm, nodules.patients)
        figures[name] = as_json(judged.figures)
        shown += [name] * judged.shown
    members = [
        Member(
            "characteristics",
            f"characteristics-{number}",
            _tensors(
                {
                    "weight": np.stack([head.weight for head in heads]).astype(np.float32),
                    "bias": np.array([head.bias for head in heads], np.float32),
                }
            ),
        )
        for number, heads in enumerate(fitted)
    ]
    return members, {"names": list(names), "shown": shown, "figures": figures}


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def told_line(card: Mapping[str, Any]) -> str:
    """What a bundle tells beside its number, by its card; empty where it tells nothing."""
    section, nodules = card.get("characteristics"), card.get("alike")
    if not section:
        return ""
    words = ", ".join(section["shown"]) or "none, since no head is as good as a reader"
    alike = f" Pictures of its {nodules['nodules']} training nodules are in it." if nodules else ""
    return f"Words beside the number: {words}.{alike}"
