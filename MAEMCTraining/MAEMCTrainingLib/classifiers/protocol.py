"""The protocol of an evaluation: where the encoders of the folds come from, and whether they saw who is tested."""

from __future__ import annotations

from pathlib import Path

from MAEMCLib.errors import InputError
from torch import Tensor

from ..data.cohort import Cohort
from ..engine.loop import train
from ..engine.session import Session
from ..pretraining.run import PretrainedJob, PretrainingTask, with_attributes
from .starting_point import StartingPoint

GIVEN, IN_FOLD, UNKNOWN = "given", "in-fold", "unknown"
UNKNOWN_PATIENTS = (
    "The model that it started from does not say which patients it was trained on: whether these are among them cannot "
    "be known. If they are, the figures are too good."
)


def check_protocol(protocol: str, cohort: Cohort, start: StartingPoint | None) -> tuple[str | None, bool]:
    """Where the encoders of the folds come from, and whether the evaluation leaks. cohort: the cases that are tested.

    None: from scratch. GIVEN: the pre-training as it is, either because it saw nobody who is evaluated here, or, under
    the protocol ``paper``, although it did: that leaks. IN_FOLD: it did see them, so that under ``honest`` it is
    repeated in each fold without the patients that the fold tests. UNKNOWN: a model, which does not say whom it saw.

    Raises InputError under ``honest`` where pseudonyms of two keys cannot be compared.
    """
    if start is None:
        return None, False
    if not start.patients_known:
        return UNKNOWN, False
    pretrained = start.pretraining
    if pretrained is None:
        return GIVEN, False
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
    session: Session,
    place: Path,
) -> dict[str, Tensor]:
    """Repeat a pre-training for one fold without the patients that it tests; the encoder's tensors.

    everyone: the cases of the pre-training. place: the fold's folder, where an interrupted one is continued. Raises
    what ``train`` raises, and InputError where nobody is left.
    """
    others, run, attributes = with_attributes(everyone.without(patients), pretrained.run, lambda line: None)
    task = PretrainingTask(others, run, pretrained.preprocessing, attributes=attributes)
    train(task, run, session, place / "pretraining", attributes.fingerprint(others), fold=fold)
    return task.module.encoder.state_dict()
