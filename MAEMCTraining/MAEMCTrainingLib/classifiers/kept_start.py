"""What an export needs of the model that a fine-tuning started from, kept in the job: the autoencoder and the facts.

A finished fine-tuning can so be exported whatever became of its pre-training, which is many times as large.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from typing import Any

from MAEMCLib.errors import InputError, MAEMCError
from MAEMCLib.files.atomic import read_json, replacing, write_json
from safetensors.torch import save_file
from torch import Tensor

from ..engine.checkpoints import read_tensors
from ..jobs.job import Job
from .starting_point import IMAGENET, SCRATCH, StartingPoint, starting_point

_FACTS, _AUTOENCODER = "start.json", "autoencoder.safetensors"


@dataclass(frozen=True)
class KeptStart:
    """name: of the model that it was, for people. decoder: the autoencoder's shape as the card states it, None where
    there is none. pretraining: its counts and configuration, None of a start that is a model. missing: why something is
    lacking, or empty."""

    name: str = ""
    decoder: dict[str, Any] | None = None
    autoencoder: dict[str, Tensor] | None = None
    pretraining: dict[str, Any] | None = None
    missing: str = ""


def keep_start(job: Job, start: StartingPoint | None) -> None:
    """Write what ``kept_start`` reads, once; nothing from scratch and from ImageNet."""
    if start is None or start.source == IMAGENET or (job.folder / _FACTS).exists():
        return
    facts = vars(_kept(start))
    autoencoder, _ = facts.pop("autoencoder"), facts.pop("missing")
    if autoencoder:
        with replacing(job.folder / _AUTOENCODER) as temporary:
            save_file(autoencoder, temporary)
    # Of a job the name is a folder's, and nobody's business.
    write_json(job.folder / _FACTS, facts | ({"name": ""} if start.pretraining is not None else {}))


def kept_start(job: Job) -> KeptStart | None:
    """What was kept; of a job from before anything was kept, what its start still says. None from scratch and ImageNet.

    Raises InputError where what was kept is damaged.
    """
    settings = job.settings
    if settings["from"] in (SCRATCH, IMAGENET):
        return None
    if (job.folder / _FACTS).exists():
        facts = read_json(job.folder / _FACTS, "What the job keeps of its start")
        try:
            autoencoder = read_tensors(job.folder / _AUTOENCODER) if facts["decoder"] else None
            return KeptStart(facts["name"], facts["decoder"], autoencoder, facts["pretraining"])
        except (TypeError, KeyError) as error:
            raise InputError(
                f"{job.folder / _FACTS} is damaged. Remove it, and export again.", "unreadable-json"
            ) from error
    with contextlib.suppress(MAEMCError):
        start = starting_point(settings["from"])
        if start is not None and start.fingerprint == settings["pretraining_fingerprint"]:
            return _kept(start)
    return KeptStart(
        missing="The pre-training of this model was gone or changed when it was exported: it holds no autoencoder, "
        "and reconstructs no region.",
    )


def _kept(start: StartingPoint) -> KeptStart:
    pretraining, pretrained = None, start.pretraining
    if pretrained is not None:
        counts = ("cases", "patients", "malignant", "benign", "unlabeled")
        pretraining = {
            "method": pretrained.run.method,
            "epochs": pretrained.run.epochs,
            "cohort": {key: pretrained.cohort[key] for key in counts},
            "configuration": Job(pretrained.folder).settings["configuration"],
        }
    decoder = asdict(start.decoder) if start.autoencoder and start.decoder is not None else None
    # In half precision: it only draws figures, is computed in float32 again, and would be a third of a small bundle.
    autoencoder = {name: tensor.half().contiguous() for name, tensor in start.autoencoder.items()}
    return KeptStart(start.name, decoder, autoencoder or None, pretraining)
