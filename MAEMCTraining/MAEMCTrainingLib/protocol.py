"""The protocol of an evaluation: where the encoders of the folds come from, and whether they saw who is tested."""

from __future__ import annotations

from pathlib import Path

import torch
from MAEMCLib.atomic import file_sha256
from MAEMCLib.errors import InputError
from torch import Tensor

from .data.cohort import Cohort
from .engine import train
from .jobs import Job
from .pretraining.run import PretrainedJob, PretrainingTask, with_attributes
from .processes import Processes
from .stopping import StopRequest

GIVEN, IN_FOLD = "given", "in-fold"


def check_protocol(protocol: str, cohort: Cohort, pretrained: PretrainedJob | None) -> tuple[str | None, bool]:
    """Where the encoders of the folds come from, and whether the evaluation leaks.

    None: from scratch. GIVEN: the pre-training as it is, either because it saw nobody who is evaluated here, or, under
    the protocol ``paper``, although it did: that leaks. IN_FOLD: it did see them, so that under ``honest`` it is
    repeated in each fold without the patients that the fold tests.

    Raises InputError under ``honest`` where pseudonyms of two keys cannot be compared.
    """
    if pretrained is None:
        return None, False
    comparable = pretrained.cohort["pseudonym_key"] == cohort.pseudonym_key
    if comparable and not set(pretrained.cohort["pseudonyms"]) & {case.patient for case in cohort.cases}:
        return GIVEN, False
    if protocol == "paper":
        return GIVEN, True
    if comparable:
        return IN_FOLD, False
    raise InputError(
        "The pre-training's pseudonyms were made with another key, so nobody can tell whether it saw patients that "
        "are to be evaluated. Pre-train again with this MAEMC_HOME, or choose --protocol paper: the report is then "
        "marked as leaky.",
        "leaky",
    )


def pretrain_without(
    patients: set[str],
    everyone: Cohort,
    pretrained: PretrainedJob,
    fold: int,
    job: Job,
    place: Path,
    device: torch.device,
    stop: StopRequest,
    processes: Processes,
) -> dict[str, Tensor]:
    """Repeat a pre-training for one fold without the patients that it tests; the encoder's tensors.

    everyone: the cases of the pre-training. place: the fold's folder, where an interrupted one is continued. Raises
    what ``train`` raises, and InputError where nobody is left.
    """
    paths = [Path(source["path"]) for source in Job(pretrained.folder).settings["data"]]
    others, run, attributes = with_attributes(everyone.without(patients), pretrained.run, paths, lambda line: None)
    task = PretrainingTask(others, run, pretrained.preprocessing, attributes=attributes)
    known = attributes.fingerprint(others)
    train(task, run, job, place / "pretraining", known, device, stop, processes, fold=fold)
    return task.module.encoder_state()


def weights_fingerprint(pretrained: PretrainedJob | None) -> str | None:
    """SHA-256 of a pre-training's weights, which an export compares; None from scratch."""
    if pretrained is None:
        return None
    return file_sha256(pretrained.folder / "checkpoints" / "last" / "model.safetensors")
