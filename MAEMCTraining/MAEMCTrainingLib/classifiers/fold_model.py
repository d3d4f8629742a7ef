"""A finished fold: where it lies, its model, and what the model makes of cases. The evaluation reads it here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from MAEMCLib.files.atomic import read_json
from MAEMCLib.networks.classifier import Classifier, Logits
from MAEMCLib.networks.configuration import GraphConfiguration
from MAEMCLib.networks.encoders import encoder_configuration
from MAEMCLib.networks.heads import head_named
from torch import Tensor, nn

from ..data.cohort import Settings
from ..data.folds import Division, Fold
from ..engine.checkpoints import read_tensors
from ..engine.session import Session
from ..jobs.job import Job
from .cases import CaseImages, LabeledCohort
from .presets import ClassifierConfiguration
from .starting_point import IN_FOLD, StartingPoint

TOGETHER = 64
"""Images that pass through the network at once, or all of one case."""
CASES_TOGETHER = 16
"""Cases that pass through a head at once."""


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
        """Say in the job's state what happens now."""
        part = len(self.stages) * fold.number + self.stages.index(stage)
        self.session.job.update(stage=f"{text} of fold {fold.number + 1} of {self.run.folds}", part=part)


def fold_folder(folder: Path, number: int) -> Path:
    """Where a job keeps one of its fold models."""
    return folder / "folds" / str(number)


def fold_result(folder: Path, number: int) -> dict[str, Any]:
    """result.json of one fold."""
    return read_json(fold_folder(folder, number) / "result.json", f"The result of fold {number + 1}")


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


def trained_branches(fusion: str, branches: Sequence[str]) -> tuple[int, ...]:
    """The numbers of the branches that a head is trained on and evaluated by. fusion: "mean", of all, or the one."""
    return tuple(number for number, name in enumerate(branches) if fusion in ("mean", name) or len(branches) == 1)


def chunks(
    images: CaseImages, cases: np.ndarray, branches: Sequence[int], together: int = TOGETHER
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Plain images of a few cases at a time: their places in ``cases``, (images, S, S), and whose each is, (images,):
    the case's place among them times the number of branches, plus the branch's place in ``branches``."""
    parts: list[np.ndarray] = []
    owners: list[int] = []
    first, slots = 0, 0
    for place, case in enumerate(cases):
        plain = images.plain(int(case))
        for column, branch in enumerate(branches):
            parts.append(plain[branch])
            owners += [(place - first) * len(branches) + column] * len(plain[branch])
            slots += max(1, len(plain[branch]))
        if slots >= together or place + 1 == len(cases):
            shown = [part for part in parts if len(part)]
            yield (
                slice(first, place + 1),
                np.concatenate(shown) if shown else np.zeros((0, images.side, images.side), np.float32),
                np.array(owners, dtype=np.int64),
            )
            parts, owners, first, slots = [], [], place + 1, 0


def mean_of_owners(values: Tensor, owners: np.ndarray, count: int) -> Tensor:
    """(images, ...) -> (count, ...) float64 on the CPU: the mean over each owner's images, zeros of who has none."""
    values, index = values.cpu().double(), torch.from_numpy(owners)
    total = torch.zeros((count, *values.shape[1:]), dtype=torch.float64)
    counts = torch.bincount(index, minlength=count).clamp_min(1).reshape(-1, *[1] * (values.ndim - 1))
    return total.index_add_(0, index, values) / counts


@torch.no_grad()
def features(
    encoder: nn.Module, images: CaseImages, cases: np.ndarray, device: torch.device, together: int = TOGETHER
) -> Tensor:
    """(cases, branches, width) float64 on the CPU: what a head reads, without augmentation or masks; zeros where a
    branch was not observed.

    Of several pictures of a case the mean: a linear head's output of it is the mean of its outputs.
    """
    encoder.eval().to(device)
    branches = range(len(images.cohort.branches))
    parts = []
    for places, shown, owners in chunks(images, np.asarray(cases), branches, together):
        count = (places.stop - places.start) * len(branches)
        values = torch.zeros(0, encoder.width)
        if len(shown):
            values = encoder.features(torch.from_numpy(shown).to(device)[:, None])
        parts.append(mean_of_owners(values, owners, count).unflatten(0, (-1, len(branches))))
    return torch.cat(parts)


@torch.no_grad()
def predict(
    classifier: Classifier, values: Tensor, seen: np.ndarray, clinical: np.ndarray, given: np.ndarray
) -> Logits:
    """What a head makes of features (cases, branches, width), in double precision on the CPU.

    seen: (cases, branches) bool, the branches that it is to look at; clinical, given: (cases, A).
    """
    classifier.eval()
    device = next(classifier.parameters()).device
    parts = []
    for start in range(0, len(values), CASES_TOGETHER):
        chunk = slice(start, start + CASES_TOGETHER)
        exact = values[chunk].float() if device.type == "mps" else values[chunk]
        others = (torch.from_numpy(part[chunk]).to(device) for part in (seen, clinical, given))
        parts.append(classifier.of_features(exact.to(device), *others))
    return joined(parts)


def joined(parts: Sequence[Logits]) -> Logits:
    """One after another, in double precision on the CPU."""
    return Logits(
        torch.cat([part.fused.cpu().double() for part in parts]),
        torch.cat([part.branches.cpu().double() for part in parts]),
        torch.cat([part.observed.cpu() for part in parts]),
    )


def feature_statistics(values: Tensor, seen: np.ndarray, branches: Sequence[str]) -> dict[str, Tensor]:
    """Mean (width,) and covariance (width, width) of each branch's features where it was seen, float32: what the model
    is used to. A branch that fewer than two cases have is left out."""
    statistics = {"count": torch.tensor(float(len(values)))}
    for number, name in enumerate(branches):
        own = values[:, number]
        if not seen[:, number].all():
            own = own[torch.from_numpy(seen[:, number])]
        if len(own) < 2:
            continue
        statistics[f"{name}_mean"] = own.mean(dim=0).float()
        statistics[f"{name}_covariance"] = torch.cov(own.T).float()
        if len(own) < len(values):
            statistics[f"{name}_count"] = torch.tensor(float(len(own)))
    return statistics
