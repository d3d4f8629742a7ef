"""Pre-training as a job: a cohort, a method, the loop."""

from __future__ import annotations

from collections.abc import Sequence
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
from ..data.augmentation import View, draw_view, montage_pair
from ..data.cohort import Cohort, join, measure_preprocessing
from ..data.sources import open_data
from ..draws import generator
from ..engine import sample_in_epoch, train
from ..jobs import Job
from ..optimization import NamedParameter
from ..processes import Processes
from ..stopping import StopRequest
from . import PairBatch, method_named
from .preview import write_preview

ALL_PATIENTS = "all"
UNLABELED_PATIENTS = "patients without a label"
"""What a job takes of a source of data, in its job.json."""


class PretrainingTask:
    """Pairs of montages of a cohort for a method. A sample is a case and the number of one of its views."""

    phase = "pretrain"
    images_per_sample = 2

    def __init__(
        self, cohort: Cohort, run: PretrainingConfiguration, preprocessing: Preprocessing, previews: Path | None = None
    ) -> None:
        self.cohort, self.run, self.preprocessing, self.previews = cohort, run, preprocessing, previews
        self.samples = len(cohort) * run.views_per_case
        self.module: nn.Module = method_named(run.method)(run.settings, run.encoder, run.decoder, run.seed)

    def parameters(self) -> list[NamedParameter]:
        """What the method lets the optimizer train."""
        return [NamedParameter(name, parameter) for name, parameter in self.module.trainable()]

    def order(self, epoch: int) -> np.ndarray:
        """The epoch's own permutation."""
        return generator(self.run.seed, "order", epoch).permutation(self.samples)

    def names(self, samples: Sequence[int] | np.ndarray) -> list[str]:
        """The case_ids of a batch."""
        return [self.cohort.cases[sample_in_epoch(code)[1] // self.run.views_per_case].case_id for code in samples]

    def batch(self, samples: Sequence[int] | np.ndarray) -> tuple[PairBatch, dict[str, float]]:
        """Montages (B, 1, 250, 250) of both planes and the noise of the masks, drawn per sample; the padded share."""
        run, step = self.run, self.cohort.slice_step_mm
        images, noise, patients, padded = [], [], [], 0.0
        for code in samples:
            epoch, sample = sample_in_epoch(code)
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
        return batch, {"padded_fraction": padded / len(images)}

    def before_step(self) -> None:
        """The method's own."""
        self.module.before_step()

    def step(self, model: nn.Module, batch: PairBatch) -> tuple[dict[str, Tensor], Any]:
        """The method's losses."""
        return model(batch)

    def after_step(self, kept: list[Any]) -> None:
        """The method's own."""
        self.module.after_step(kept)

    def epoch_done(self, epoch: int, device: torch.device) -> None:
        """Draw a preview where one is due: the same case under the same masks, so that two of them compare."""
        every, last = self.run.preview_epochs, epoch + 1 == self.run.epochs
        if self.previews is None or not every or not ((epoch + 1) % every == 0 or epoch == 0 or last):
            return
        pair, _ = montage_pair(self.cohort.stacks(0), View(), self.preprocessing)
        noise = generator(self.run.seed, "preview").random((2, self.run.encoder.tokens), dtype=np.float32)
        self.previews.mkdir(exist_ok=True)
        write_preview(self.module, pair, noise, self.preprocessing, self.previews / f"epoch-{epoch + 1:04d}.png")

    def validate(self, device: torch.device) -> None:
        """Pre-training runs its full course."""


def pretrain(
    cohort: Cohort,
    run: PretrainingConfiguration,
    job: Job,
    device: torch.device,
    data: list[dict[str, Any]],
    stop: StopRequest,
    processes: Processes = Processes(),  # noqa: B008 - frozen
) -> None:
    """Pre-train in an opened job, or continue it.

    data: how the cohort was put together, for job.json. Raises what ``Job.declare`` and ``train`` raise.
    """
    preprocessing = measure_preprocessing(cohort)
    job.declare(
        {
            "configuration": to_json(run),
            "preprocessing": asdict(preprocessing),
            "data": data,
            "data_fingerprint": cohort.fingerprint,
            "cohort": cohort.facts(),
        }
    )
    job.log(_describe(cohort, run, device))
    task = PretrainingTask(cohort, run, preprocessing, job.folder / "previews")
    job.update(stage="Pre-training")
    train(task, run, job, job.folder / "checkpoints", cohort.fingerprint, device, stop, processes)
    job.log(f"Finished: {job.folder / 'checkpoints' / 'last'}")


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


def cohort_of(pretrained: PretrainedJob, home: Path) -> Cohort:
    """The cases that a job was pre-trained on, opened again.

    Raises InputError: they are gone, or are others than the job saw.
    """
    settings = Job(pretrained.folder).settings
    parts: dict[bool, list[Any]] = {True: [], False: []}
    for source in settings["data"]:
        cache = open_data(Path(source["path"]), pretrained.folder / "caches", home)
        parts[source["takes"] == ALL_PATIENTS].append(cache)
    cohort = join(parts[True], parts[False])
    if cohort.fingerprint != settings["data_fingerprint"]:
        raise InputError(
            f"The data of the pre-training {pretrained.folder} have changed since. Bring them back, or pre-train "
            "again.",
            "data-changed",
        )
    return cohort


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
