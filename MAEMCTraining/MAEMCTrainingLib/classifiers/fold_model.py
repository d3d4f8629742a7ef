"""A finished fold: where it lies, its result and its model. The evaluation reads it here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MAEMCLib.files.atomic import read_json
from MAEMCLib.networks.classifier import Classifier
from MAEMCLib.networks.configuration import GraphConfiguration, encoder_configuration
from MAEMCLib.networks.heads import head_named
from torch import Tensor

from ..data.cohort import Settings
from ..data.folds import Division, Fold
from ..engine.checkpoints import read_tensors
from ..engine.session import Session
from ..jobs.job import Job
from .cases import CaseImages, LabeledCohort
from .presets import ClassifierConfiguration
from .starting_point import IN_FOLD, StartingPoint


@dataclass(frozen=True)
class FoldTraining:
    """What all folds of a training share, and all that its evaluation needs.

    run: with the number of folds that there are. start: None from scratch. preprocessing: of the cases that the folds'
    models are shown. pretraining: as ``check_protocol`` gives it. variants: what is trained in each fold, by name, the
    model's own being "".
    """

    cohort: LabeledCohort
    run: ClassifierConfiguration
    session: Session
    start: StartingPoint | None
    division: Division
    preprocessing: Settings
    pretraining: str | None
    variants: dict[str, LabeledCohort]

    @property
    def images(self) -> CaseImages:
        """What the folds' models are shown."""
        return CaseImages(self.cohort, self.run.augmentation, self.preprocessing, self.run.encoder.image_size)

    @property
    def stages(self) -> list[str]:
        """What happens in each fold, in order."""
        return ["pretraining"] * (self.pretraining == IN_FOLD) + list(self.variants)

    def announce(self, fold: Fold, stage: str, text: str) -> None:
        """Say in the job's state what happens now, and of how much."""
        folds, each = self.run.folds, len(self.stages)
        place = {"folds": folds, "parts": each * folds, "part": each * fold.number + self.stages.index(stage)}
        self.session.job.update(stage=f"{text} of fold {fold.number + 1} of {folds}", **place)


def fold_folder(folder: Path, number: int) -> Path:
    """Where a job keeps one of its fold models."""
    return folder / "folds" / str(number)


def fold_results(folder: Path, folds: int) -> list[dict[str, Any]]:
    """result.json of each fold."""
    return [
        read_json(fold_folder(folder, number) / "result.json", f"The result of fold {number + 1}")
        for number in range(folds)
    ]


def probabilities_of(row: Mapping[str, Any]) -> list[float]:
    """Of a row of result.json, a number for each class."""
    return row["probabilities"] if "probabilities" in row else [1 - row["probability"], row["probability"]]


def fold_weights(folder: Path, number: int) -> dict[str, Tensor]:
    """The tensors of a finished fold's model. Raises ModelError."""
    return read_tensors(fold_folder(folder, number) / "checkpoints" / "best" / "model.safetensors")


def load_fold(job: Job, number: int) -> Classifier:
    """The classifier of a finished fold, in evaluation. Raises ModelError."""
    settings = job.settings
    configuration, graph = settings["configuration"], None
    if settings["kind"] == "fuse":
        attributes = tuple(len(one.get("choices", ())) for one in settings["clinical"] if one["kind"] != "series")
        width, rounds = configuration["width"], configuration["rounds"]
        graph = GraphConfiguration(tuple(settings["branches"]), attributes, width, rounds)
    classes = len(settings.get("classes", "01"))  # of a job from before fine-tuning had others: two
    classifier = head_named(head_of(settings))(encoder_configuration(configuration["encoder"]), classes, 0, graph)
    classifier.load_state_dict(fold_weights(job.folder, number))
    return classifier.eval()


def head_of(settings: dict[str, Any]) -> str:
    """The head of a job's models; jobs from before it could be chosen have that of their kind."""
    return settings["configuration"].get("head", "graph" if settings["kind"] == "fuse" else "linear")
