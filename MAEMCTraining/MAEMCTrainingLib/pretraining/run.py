"""Pre-training as a job: a cohort, a method, the loop."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from MAEMCLib.errors import InputError
from MAEMCLib.montage import Preprocessing
from MAEMCLib.networks.configuration import DecoderConfiguration, EncoderConfiguration
from torch import Tensor, nn

from ..checkpoints import read_tensors
from ..configuration import Augmentation, Optimization, PretrainingConfiguration, from_json, to_json
from ..data.augmentation import draw_view, montage_pair
from ..data.cohort import Cohort, measure_preprocessing
from ..draws import generator
from ..engine import train
from ..jobs import Job, StopRequest, open_job
from ..optimization import NamedParameter
from . import PairBatch, method_named


class PretrainingTask:
    """Pairs of montages of a cohort for a method. A sample is a case and the number of one of its views."""

    phase = "pretrain"
    images_per_sample = 2

    def __init__(self, cohort: Cohort, run: PretrainingConfiguration, preprocessing: Preprocessing) -> None:
        self.cohort, self.run, self.preprocessing = cohort, run, preprocessing
        self.samples = len(cohort) * run.views_per_case
        self.steps_per_epoch = -(-self.samples // run.batch)
        self.module: nn.Module = method_named(run.method)(run.settings, run.encoder, run.decoder, run.seed)
        self._order: tuple[int, np.ndarray] | None = None

    def parameters(self) -> list[NamedParameter]:
        """What the method lets the optimizer train."""
        return [NamedParameter(name, parameter) for name, parameter in self.module.trainable()]

    def samples_of(self, epoch: int, index: int) -> np.ndarray:
        """The samples of one batch: a part of the epoch's own permutation."""
        order = self._order  # read once: the loop makes batches in another thread
        if order is None or order[0] != epoch:
            order = self._order = (epoch, generator(self.run.seed, "order", epoch).permutation(self.samples))
        return order[1][index * self.run.batch : (index + 1) * self.run.batch]

    def names(self, epoch: int, index: int) -> list[str]:
        """The case_ids of a batch."""
        return [
            self.cohort.cases[sample // self.run.views_per_case].case_id for sample in self.samples_of(epoch, index)
        ]

    def batch(self, epoch: int, index: int) -> tuple[PairBatch, dict[str, float]]:
        """Montages (B, 1, 250, 250) of both planes and the noise of the masks, drawn per sample; the padded share."""
        run, step = self.run, self.cohort.slice_step_mm
        images, noise, patients, padded = [], [], [], 0.0
        for sample in self.samples_of(epoch, index).tolist():
            case, number = divmod(sample, run.views_per_case)
            view = draw_view(run.augmentation, step, run.seed, epoch, sample, number)
            pair, outside = montage_pair(self.cohort.stacks(case), view, self.preprocessing)
            images.append(pair)
            draws = generator(run.seed, "mask", epoch, sample)
            noise.append(draws.random((2, run.encoder.tokens), dtype=np.float32))
            patients.append(self.cohort.patients[case])
            padded += outside
        pairs, noises = torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(noise))
        batch = PairBatch(
            axial=pairs[:, 0, None],
            coronal=pairs[:, 1, None],
            patient=torch.tensor(patients, dtype=torch.int64),
            axial_noise=noises[:, 0],
            coronal_noise=noises[:, 1],
        )
        return batch, {"padded_fraction": round(padded / len(images), 6)}

    def step(self, batch: PairBatch) -> dict[str, Tensor]:
        """The method's losses."""
        return self.module.training_step(batch)

    def validate(self, device: torch.device) -> None:
        """Pre-training runs its full course."""


def pretrain(
    cohort: Cohort,
    run: PretrainingConfiguration,
    folder: Path,
    home: Path,
    device: torch.device,
    data: list[dict[str, Any]],
    command: str = "",
    quiet: bool = False,
) -> None:
    """Pre-train in a job folder, or continue the job that is there.

    data: how the cohort was put together, for job.json. Raises what ``open_job`` and ``train`` raise.
    """
    preprocessing = measure_preprocessing(cohort)
    settings = {
        "kind": "pretrain",
        "configuration": to_json(run),
        "preprocessing": asdict(preprocessing),
        "data": data,
        "data_fingerprint": cohort.fingerprint,
        "cohort": cohort.facts(),
        "command": command,
    }
    with StopRequest().listening() as stop, open_job(folder, settings, home, quiet) as job:
        job.log(_describe(cohort, run, device))
        task = PretrainingTask(cohort, run, preprocessing)
        train(task, run, job, folder / "checkpoints", cohort.fingerprint, device, stop)
        job.log(f"Finished: {folder / 'checkpoints' / 'last'}")


def _describe(cohort: Cohort, run: PretrainingConfiguration, device: torch.device) -> str:
    """What starts, in one line."""
    patients = len(np.unique(cohort.patients))
    return (
        f"Pre-training {run.method} on {len(cohort)} cases of {patients} patients, {run.epochs} epochs of "
        f"{len(cohort) * run.views_per_case} pairs, batch {run.batch}, on {device}."
    )


@dataclass(frozen=True)
class PretrainedJob:
    """A finished pre-training: its settings, its preprocessing, facts of its cohort, the method with its weights."""

    folder: Path
    run: PretrainingConfiguration
    preprocessing: Preprocessing
    cohort: dict[str, Any]
    module: nn.Module


def load_pretrained(folder: Path) -> PretrainedJob:
    """Open a finished pre-training job. Raises InputError: no such job, or one that is not finished."""
    job = Job(folder)
    settings = job.settings
    if settings.get("kind") != "pretrain":
        raise InputError(f"{folder} is a job of the kind '{settings.get('kind')}', not a pre-training.", "job-kind")
    if job.status != "finished":
        raise InputError(
            f"The pre-training {folder} is {job.status}, not finished. Repeat its command to continue it.", "unfinished"
        )
    run = configuration_from_json(settings["configuration"])
    module = method_named(run.method)(run.settings, run.encoder, run.decoder, run.seed)
    module.load_state_dict(read_tensors(folder / "checkpoints" / "last" / "model.safetensors"))
    return PretrainedJob(
        folder=folder,
        run=run,
        preprocessing=Preprocessing(**settings["preprocessing"]),
        cohort=settings["cohort"],
        module=module,
    )


def configuration_from_json(values: dict[str, Any]) -> PretrainingConfiguration:
    """The configuration that a job stored."""
    kinds = {
        "settings": method_named(values["method"]).Configuration,
        "encoder": EncoderConfiguration,
        "decoder": DecoderConfiguration,
        "augmentation": Augmentation,
        "optimization": Optimization,
    }
    parts = {key: from_json(kind, values[key]) for key, kind in kinds.items()}
    return from_json(PretrainingConfiguration, values | parts)
