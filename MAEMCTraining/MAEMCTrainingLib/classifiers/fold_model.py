"""A finished fold: where it lies, its model, and what the model makes of cases. The evaluation reads it here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from MAEMCLib.files.atomic import read_json, replacing
from MAEMCLib.networks.encoders import AnyEncoderConfiguration
from MAEMCLib.networks.heads.linear import LinearHead
from safetensors.torch import save_file
from torch import Tensor, nn

from ..data.cohort import Cohort
from ..data.folds import Division
from ..data.kinds.kind import Presentation
from ..data.preprocessing import Settings
from ..engine.checkpoints import read_tensors
from ..engine.configuration import FinetuningConfiguration
from ..jobs.job import Job

_PLANES = {"mean": (0, 1), "axial": (0,), "coronal": (1,)}
_TOGETHER = 64  # images that pass through the network at once, or all of one case


@dataclass(frozen=True)
class TrainedFolds:
    """A job whose folds are all trained, and what they were trained on: all that its evaluation needs.

    run: with the number of folds that there are. preprocessing: of the cases that the folds' models were shown.
    """

    job: Job
    cohort: Cohort
    division: Division
    run: FinetuningConfiguration
    preprocessing: Settings
    device: torch.device


def fold_folder(folder: Path, number: int) -> Path:
    """Where a job keeps one of its fold models."""
    return folder / "folds" / str(number)


def fold_result(folder: Path, number: int) -> dict[str, Any]:
    """result.json of one fold."""
    return read_json(fold_folder(folder, number) / "result.json", f"The result of fold {number + 1}")


def save_weights(place: Path, module: nn.Module) -> None:
    """Keep a fold's weights where ``load_fold`` looks for them."""
    target = place / "checkpoints" / "best" / "model.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, temporary)


def load_fold(folder: Path, number: int, encoder: AnyEncoderConfiguration) -> LinearHead:
    """The classifier of a finished fold. Raises ModelError."""
    classifier = LinearHead(encoder, classes=2)
    classifier.load_state_dict(read_tensors(fold_folder(folder, number) / "checkpoints" / "best" / "model.safetensors"))
    return classifier.eval()


def fused_planes(fusion: str, presentation: Presentation) -> tuple[int, ...]:
    """The numbers of the planes that are trained on and averaged; of pictures there is one."""
    return _PLANES[fusion] if len(presentation.planes) > 1 else (0,)


def chunks(
    presentation: Presentation, cases: np.ndarray, planes: Sequence[int] | None = None
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Plain images of a few cases at a time: their places in ``cases``, (images, S, S), and whose each is (images,).

    planes: of nodules, those that are wanted; None: both. All pictures of a case are given.
    """
    parts: list[np.ndarray] = []
    for place, case in enumerate(cases):
        part = presentation.plain(int(case))
        parts.append(part[list(planes)] if planes is not None and len(presentation.planes) > 1 else part)
        sizes = [len(part) for part in parts]
        if sum(sizes) >= _TOGETHER or place + 1 == len(cases):
            places = slice(place + 1 - len(parts), place + 1)
            yield places, np.concatenate(parts), np.repeat(np.arange(len(parts)), sizes)
            parts = []


def mean_of_cases(values: Tensor, owners: np.ndarray) -> Tensor:
    """(images, ...) -> (cases, ...) float64: the mean over each case's images."""
    index = torch.from_numpy(owners).to(values.device)
    total = torch.zeros((int(owners.max()) + 1, *values.shape[1:]), dtype=torch.float64, device=values.device)
    counts = torch.bincount(index).reshape(-1, *[1] * (values.ndim - 1))
    return total.index_add_(0, index, values.double()) / counts


@torch.no_grad()
def features(encoder: nn.Module, presentation: Presentation, cases: np.ndarray, device: torch.device) -> Tensor:
    """(cases, planes, width) float64 on the CPU: what the linear layer reads, without augmentation or masks.

    Of several pictures of a case the mean: the layer is linear, so that its output is the mean of its outputs.
    """
    encoder.eval().to(device)
    parts = []
    for places, images, owners in chunks(presentation, np.asarray(cases)):
        values = encoder.features(torch.from_numpy(images).to(device)[:, None])
        if len(presentation.planes) > 1:
            parts.append(values.unflatten(0, (places.stop - places.start, -1)).double().cpu())
        else:
            parts.append(mean_of_cases(values, owners).cpu()[:, None])
    return torch.cat(parts)


def predict(classifier: nn.Module, values: Tensor, planes: Sequence[int]) -> np.ndarray:
    """(cases,) probability of malignancy from features (cases, planes, width): the mean of the planes' logits."""
    head = classifier.head
    logits = nn.functional.linear(values, head.weight.detach().double().cpu(), head.bias.detach().double().cpu())
    margin = (logits[..., 1] - logits[..., 0])[:, list(planes)].mean(dim=1)
    return torch.sigmoid(margin).numpy()


def feature_statistics(values: Tensor, planes: Sequence[str]) -> dict[str, Tensor]:
    """Mean (width,) and covariance (width, width) of each plane's features, float32: what the model is used to."""
    statistics = {"count": torch.tensor(float(len(values)))}
    for plane, name in enumerate(planes):
        statistics[f"{name}_mean"] = values[:, plane].mean(dim=0).float()
        statistics[f"{name}_covariance"] = torch.cov(values[:, plane].T).float()
    return statistics
