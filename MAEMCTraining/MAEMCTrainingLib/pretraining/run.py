"""Pre-training as a job: a cohort, a method, the loop."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.networks.configuration import DecoderConfiguration, encoder_configuration
from torch import nn

from ..data.cases import TEST, TRAIN, VALIDATION
from ..data.cohort import Attributes, Cohort, Settings, attributes_of, join, measure_preprocessing
from ..data.kinds import kind_of_job
from ..data.kinds.kind import Kind
from ..data.kinds.lesion import keep_lesion_visible, lesion_patches, lesion_sizes
from ..data.sources import Source, naming_nobody
from ..engine.checkpoints import read_tensors
from ..engine.configuration import Optimization, from_json, to_json
from ..engine.loop import steps_in_epoch, train
from ..engine.rng import generator
from ..engine.session import Session
from ..engine.task import Sample, Task
from ..jobs.job import Job
from .method import ViewBatch
from .presets import PretrainingConfiguration, check_encoder
from .preview import write_preview
from .registry import method_named

ALL_PATIENTS = "all"
UNLABELED_PATIENTS = "patients without a label"
"""What a job takes of a source of data, in its job.json."""


class PretrainingTask(Task):
    """Views of a cohort for a method. A sample is a case, or a picture, and the number of one of its views."""

    phase = "pretrain"

    def __init__(
        self,
        cohort: Cohort,
        run: PretrainingConfiguration,
        preprocessing: Settings,
        previews: Path | None = None,
        attributes: Attributes | None = None,
    ) -> None:
        """Raises UsageError where the method cannot work with the encoder, the batch or the accumulation."""
        self.cohort, self.run, self.preprocessing, self.previews = cohort, run, preprocessing, previews
        self.seed = run.seed
        self.attributes = attributes or Attributes.none(len(cohort))
        self.fingerprint = self.attributes.fingerprint(cohort)
        self.presentation = cohort.present(run.augmentation, preprocessing, run.encoder.image_size)
        self.samples = self.presentation.samples_per_view * run.views_per_case
        self.module: nn.Module = build_method(run)
        self.before_step, self.after_step = self.module.before_step, self.module.after_step
        self.unmoved = self.module.unmoved
        if self.module.WHOLE_BATCH and run.accumulation > 1:
            raise UsageError(
                f"The method {run.method} compares the samples of a batch with each other, so that it cannot pass in "
                "micro-batches. Leave accumulation at 1 and choose a smaller batch, or moco-v2, which has a queue.",
                "accumulation",
            )
        smallest = self.samples // steps_in_epoch(self.samples, run.batch)
        if self.module.WHOLE_BATCH and smallest < 2:
            raise UsageError(
                f"The method {run.method} compares the samples of a batch, and of {self.samples} samples in batches of "
                f"{run.batch} one has a single sample. Choose a larger batch, much better 32 or more, and data with as "
                "many cases.",
                "batch",
            )
        guarded = cohort.kind.marks_lesions and self.module.mask_cells and self.module.VIEWS in ("one", "shifted")
        if run.min_visible_lesion and not guarded:
            raise UsageError(
                f"min_visible_lesion is for methods that mask parts of 2-D pictures; {run.method} on these data does "
                "not. Leave it out.",
                "visible-lesion",
            )
        self.images_per_sample = len(self._views(0, 0)[0])
        self.divisible = not self.module.WHOLE_BATCH

    def _case(self, sample: int) -> int:
        return self.presentation.case_of(sample // self.run.views_per_case)

    def _views(self, epoch: int, sample: int) -> tuple[list[np.ndarray], float]:
        item, number = divmod(sample, self.run.views_per_case)
        return self.presentation.views(self.module.VIEWS, item, self.seed, epoch, sample, number)

    def names(self, samples: Sequence[Sample]) -> list[str]:
        """The cases of a batch."""
        return [self.cohort.cases[self._case(number)].where for _, number in samples]

    def batch(self, samples: Sequence[Sample]) -> tuple[ViewBatch, dict[str, float]]:
        """The method's views and the noise of their masks, drawn per sample; the padded share."""
        images, noise, cases, padded = [], [], [], 0.0
        for epoch, sample in samples:
            views, outside = self._views(epoch, sample)
            images.append(views)
            noise.append(self._noise(epoch, sample)[: len(views)])
            cases.append(self._case(sample))
            padded += outside
        batch = ViewBatch(
            images=tuple(torch.from_numpy(np.stack(view))[:, None] for view in zip(*images, strict=True)),
            patient=torch.from_numpy(self.cohort.patients[cases]),
            noise=torch.from_numpy(np.stack(noise)),
            attributes=torch.from_numpy(self.attributes.values[cases]),
        )
        return batch, {"padded_fraction": padded / len(images)}

    def _noise(self, epoch: int, sample: int) -> np.ndarray:
        """(2, cells) uniform; changed so that the wanted share of a marked lesion stays visible, or as much of it as
        the mask leaves of the image."""
        rng = generator(self.seed, "mask", epoch, sample)
        noise = rng.random((2, self.module.mask_cells), dtype=np.float32)
        share, item = self.run.min_visible_lesion, sample // self.run.views_per_case
        mask = self.presentation.lesion(item, self.seed, epoch, sample) if share else None
        if mask is None:
            return noise
        touched = max(1, int(lesion_patches(mask, self.cell).sum()))
        share = min(share, (self.module.mask_cells - self.module.masked) / touched)
        return np.stack([keep_lesion_visible(noise[0], mask, self.cell, self.module.masked, share), noise[1]])

    @property
    def cell(self) -> int:
        """Side of a mask's cell in pixels."""
        return self.run.encoder.image_size // math.isqrt(self.module.mask_cells)

    def epoch_done(self, epoch: int, device: torch.device) -> None:
        """Draw a preview where one is due: the same images under the same masks, so that two of them compare."""
        every, last = self.run.preview_epochs, epoch + 1 == self.run.epochs
        due = every and ((epoch + 1) % every == 0 or epoch == 0 or last)
        if self.previews is None or self.module.reconstruct is None or not due:
            return
        images = self.presentation.plain(0)
        if len(images) < 2:  # of pictures, the first of two cases
            images = np.stack([images[0], self.presentation.plain(min(1, len(self.cohort) - 1))[0]])
        noise = generator(self.seed, "preview").random((2, self.module.mask_cells), dtype=np.float32)
        self.previews.mkdir(exist_ok=True)
        write_preview(self.module, images[:2], noise, self.preprocessing, self.previews / f"epoch-{epoch + 1:04d}.png")


def build_method(run: PretrainingConfiguration) -> nn.Module:
    """The method with its first values. Raises UsageError where it cannot work with the encoder."""
    check_encoder(run)
    return method_named(run.method)(run.settings, run.encoder, run.decoder, run.seed)


def pretrain(cohort: Cohort, run: PretrainingConfiguration, session: Session, data: list[dict[str, Any]]) -> None:
    """Pre-train in an opened job, or continue it.

    data: how the cohort was put together, for job.json. Raises what ``Job.declare`` and ``train`` raise.
    """
    job = session.job
    cohort = what_trains(cohort, job.log)
    cohort, run, attributes = with_attributes(cohort, run, job.log)
    preprocessing = measure_preprocessing(
        cohort, run.augmentation, run.encoder.image_size, run.encoder.skips_unobserved
    )
    job.declare(
        {
            "input": cohort.kind.name,
            "configuration": to_json(run),
            "preprocessing": asdict(preprocessing),
            "data": data,
            "data_fingerprint": cohort.fingerprint,
            "cohort": cohort.facts(),
            "parts": None,
        }
    )
    task = PretrainingTask(cohort, run, preprocessing, job.folder / "previews", attributes)
    job.log(
        f"Pre-training {run.method} on {len(cohort)} cases of {len(np.unique(cohort.patients))} patients, {run.epochs} "
        f"epochs of {task.samples} samples, batch {run.batch}, on {session.device}."
    )
    if run.min_visible_lesion:
        job.log(_describe_lesions(task))
    job.update(stage="Pre-training")
    train(task, run, session, job.folder / "checkpoints", task.fingerprint)
    job.log("Finished: checkpoints/last.")


def what_trains(cohort: Cohort, log: Callable[[str], None]) -> Cohort:
    """The cases that the manifest's split lets train, or all. log: gets a line about those that are left out.

    Raises InputError where nobody is left.
    """
    if not cohort.is_divided:
        return cohort
    counts = [f"{int((cohort.parts == part).sum())} {part}" for part in (TEST, VALIDATION)]
    log(f"Left out of the pre-training by the manifest's split: {' and '.join(counts)} cases.")
    return cohort.of_parts(TRAIN)


def with_attributes(
    cohort: Cohort,
    run: PretrainingConfiguration,
    log: Callable[[str], None],
) -> tuple[Cohort, PretrainingConfiguration, Attributes]:
    """The cases that have the metadata that the method learns from, its settings with the classes found, the metadata.

    Cases without are left out and counted. Raises InputError: no such column, no case has any, one class only.
    """
    columns = run.settings.columns
    if not columns:
        return cohort, run, Attributes.none(len(cohort))
    attributes, known = attributes_of(cohort, columns)
    if len(known) < len(cohort):
        missing = len(cohort) - len(known)
        log(f"{missing} of {len(cohort)} cases have no value under {', '.join(columns)} and are left out.")
    settings = replace(run.settings, classes=attributes.names)
    if settings.class_counts is not None:
        several = [cohort.cases[known[row]].where for row in np.flatnonzero(attributes.values.sum(axis=1) > 1)]
        if several:
            raise InputError(
                f"{len(several)} cases (the first: {several[0]}) have several values under {', '.join(columns)}, and "
                f"{run.method} learns one class a case. Choose modan-mulsupcon, or another column.",
                "several-classes",
            )
        settings = replace(settings, class_counts=tuple(int(count) for count in attributes.values.sum(axis=0)))
    return cohort.subset(known), replace(run, settings=settings), attributes


def _describe_lesions(task: PretrainingTask) -> str:
    """How large the marked lesions are beside the patches. Raises InputError where no picture has a mask."""
    share = task.run.min_visible_lesion
    sizes = lesion_sizes(task.presentation.lesions(), task.cell, task.module.masked, share)
    if not sizes.lesions:
        raise InputError(
            "min_visible_lesion needs pictures of the lesions, and the manifest's column mask names none. Fill it, or "
            "leave min_visible_lesion out.",
            "lesion-mask",
        )
    text = (
        f"{sizes.lesions} lesions are marked, the smallest {sizes.smallest_diameter:.1f} patches across, the median "
        f"{sizes.median_diameter:.1f}; at least {share:.0%} of each one's patches stay visible."
    )
    large = len(sizes.too_large)
    return text + (f" {large} are too large for that and show what the mask shows." if large else "")


@dataclass(frozen=True)
class PretrainedJob:
    """A finished pre-training: its settings, its preprocessing, facts of its cohort, the method with its weights."""

    folder: Path
    run: PretrainingConfiguration
    kind: Kind  # of input
    preprocessing: Settings
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
    kind = kind_of_job(settings)
    run = configuration_from_json(settings["configuration"], kind.Augmentation)
    module = build_method(run)
    module.load_state_dict(read_tensors(folder / "checkpoints" / "last" / "model.safetensors"))
    return PretrainedJob(folder, run, kind, kind.Preprocessing(**settings["preprocessing"]), settings["cohort"], module)


def cohort_of(pretrained: PretrainedJob, home: Path) -> Cohort:
    """The cases that a job was pre-trained on, opened again.

    Raises InputError: they are gone, are not known here, or are others than the job saw.
    """
    settings = Job(pretrained.folder, home=home).settings
    try:
        paths = [Path(source["path"]) for source in settings["data"]]
    except KeyError:
        raise InputError(
            f"Where the data of the pre-training {pretrained.folder} lie is not known here: a job's folder holds no "
            "paths, and it was made elsewhere or has moved. Pre-train again, or leave its patients out of these data.",
            "data-unknown",
            [pretrained.folder],
        ) from None
    parts: dict[bool, list[Any]] = {True: [], False: []}
    with naming_nobody(paths):
        for source, path in zip(settings["data"], paths, strict=True):
            parts[source["takes"] == ALL_PATIENTS].append(Source(path).open(pretrained.folder / "caches", home))
        cohort = what_trains(join(parts[True], parts[False]), lambda line: None)
        cohort, _, _ = with_attributes(cohort, pretrained.run, lambda line: None)
    if cohort.fingerprint != settings["data_fingerprint"]:
        raise InputError(
            f"The data of the pre-training {pretrained.folder} have changed since, or it was made by an earlier "
            "version of MAEMC. Bring them back, or pre-train again.",
            "data-changed",
            [pretrained.folder],
        )
    return cohort


def configuration_from_json(values: dict[str, Any], augmentation: type) -> PretrainingConfiguration:
    """The configuration that a job stored. augmentation: the class of its kind of input."""
    parts = {
        "settings": from_json(method_named(values["method"]).Configuration, values["settings"]),
        "encoder": encoder_configuration(values["encoder"]),
        "decoder": from_json(DecoderConfiguration, values["decoder"]),
        "augmentation": from_json(augmentation, values["augmentation"]),
        "optimization": from_json(Optimization, values["optimization"]),
    }
    return from_json(PretrainingConfiguration, values | parts)
