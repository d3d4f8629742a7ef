"""Fine-tuning as a job: fold models by patient, each stopped by its own validation part and tested once.

Zhao et al. 2025, section 3.4: the pre-trained encoder and one two-class layer, no masking. Both planes of a nodule are
separate samples of one head; at inference the mean of their logits decides. Of a case of several pictures each epoch
shows one, and the mean over all of them decides.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.files.atomic import replacing, write_json
from MAEMCLib.images.gray import STORED_SIDE
from MAEMCLib.networks.encoders import build_encoder
from MAEMCLib.networks.heads.linear import LinearHead
from safetensors.torch import save_file
from torch import Tensor, nn

from ..data.cohort import Cohort
from ..data.folds import Divisible, Division, Fold, divide
from ..data.parts import TEST, TRAIN, VALIDATION
from ..data.preprocessing import Settings, measure_preprocessing
from ..engine.configuration import FinetuningConfiguration, to_json
from ..engine.loop import train
from ..engine.optimization import NamedParameter, layer_scale
from ..engine.processes import Processes
from ..engine.rng import generator
from ..engine.task import Task, sample_in_epoch
from ..evaluation.logistic import FEATURE_PENALTY, fit_logistic
from ..evaluation.metrics import auc
from ..jobs.job import Job, refuse_older
from ..jobs.stopping import StopRequest
from ..pretraining.run import cohort_of
from .fold_model import (
    TrainedFolds,
    chunks,
    feature_statistics,
    features,
    fold_folder,
    fused_planes,
    mean_of_cases,
    predict,
    save_weights,
)
from .kept_start import keep_start
from .protocol import IN_FOLD, check_protocol, pretrain_without
from .starting_point import SCRATCH, StartingPoint


@dataclass
class LabeledBatch:
    """images (B, 1, S, S) normalized, labels (B,) int64, weights (B,) of the classes."""

    images: Tensor
    labels: Tensor
    weights: Tensor

    def to(self, device: torch.device | str) -> LabeledBatch:
        """The same batch on another device."""
        return LabeledBatch(*(t.to(device, non_blocking=True) for t in (self.images, self.labels, self.weights)))

    def __len__(self) -> int:
        return len(self.labels)


def class_weights(labels: np.ndarray, weighted: bool) -> np.ndarray:
    """(2,) n / (2 n_c): each class counts half of the loss; ones where not weighted."""
    counts = np.bincount(labels, minlength=2)
    return len(labels) / (2.0 * counts) if weighted else np.ones(2)


class FinetuningTask(Task):
    """One fold: a classifier on the images of its training part. A sample is a case and one of its planes."""

    phase = "finetune"
    images_per_sample = 1
    divisible = True

    def __init__(
        self,
        cohort: Cohort,
        fold: Fold,
        run: FinetuningConfiguration,
        preprocessing: Settings,
        encoder_state: dict[str, Tensor] | None,
    ) -> None:
        self.cohort, self.fold, self.run = cohort, fold, run
        self.presentation = cohort.present(run.augmentation, preprocessing, run.encoder.image_size)
        self.planes = fused_planes(run.fusion, self.presentation)
        self.samples = len(fold.train) * len(self.planes)
        self.weights = class_weights(cohort.labels[fold.train], run.class_weights)
        self.seed = int(generator(run.seed, "fold", 0, fold.number).integers(2**31))
        self.module: nn.Module = LinearHead(run.encoder, classes=2, seed=self.seed)
        if encoder_state is not None:
            drawn = self.module.encoder.state_dict()
            anew = run.new_patch_embedding and not run.linear_probe
            kept = {name: drawn[name] for name in drawn if anew and name.startswith("patch_embed.")}
            self.module.encoder.load_state_dict(encoder_state | kept)

    def parameters(self) -> list[NamedParameter]:
        """All of the classifier's, the deeper the slower; at first the linear layer alone, where that is asked for."""
        depth = getattr(self.run.encoder, "depth", 0)  # layer decay is of transformers; others learn at one rate
        decay = self.run.optimization.layer_decay if depth else 1.0
        return [
            NamedParameter(
                name,
                parameter,
                layer_scale(name, depth, decay),
                self.run.frozen_epochs if name.startswith("encoder.") else 0,
            )
            for name, parameter in self.module.named_parameters()
        ]

    def order(self, epoch: int) -> np.ndarray:
        """The epoch's own permutation of cases and planes."""
        return generator(self.seed, "order", epoch).permutation(self.samples)

    def _case_and_plane(self, sample: int) -> tuple[int, int]:
        case, plane = divmod(sample, len(self.planes))
        return int(self.fold.train[case]), self.planes[plane]

    def names(self, samples: Sequence[int] | np.ndarray) -> list[str]:
        """The cases of a batch."""
        return [self.cohort.cases[self._case_and_plane(sample_in_epoch(code)[1])[0]].where for code in samples]

    def batch(self, samples: Sequence[int] | np.ndarray) -> tuple[LabeledBatch, dict[str, float]]:
        """Augmented images of one batch; the padded share."""
        images, cases, padded = [], [], 0.0
        for code in samples:
            epoch, number = sample_in_epoch(code)
            case, plane = self._case_and_plane(number)
            image, outside = self.presentation.training_image(case, plane, self.seed, epoch)
            padded += outside
            images.append(image)
            cases.append(case)
        labels = self.cohort.labels[np.array(cases)]
        batch = LabeledBatch(
            torch.from_numpy(np.ascontiguousarray(np.stack(images)))[:, None],
            torch.from_numpy(labels),
            torch.from_numpy(self.weights[labels].astype(np.float32)),
        )
        return batch, {"padded_fraction": padded / len(images)}

    def step(self, model: nn.Module, batch: LabeledBatch) -> tuple[dict[str, Tensor], None]:
        """Weighted cross-entropy, the mean over samples."""
        nothing = batch.images.new_zeros(len(batch), 0)
        found = model(batch.images[:, None], nothing.new_ones(len(batch), 1).bool(), nothing, nothing.bool())
        return {"loss": _loss(found.fused, batch)}, None

    @torch.no_grad()
    def validate(self, device: torch.device) -> dict[str, float]:
        """The same loss, and the AUC, of the validation cases' mean logits: of what scoring gives."""
        self.module.eval()
        cases = self.fold.validation
        logits = torch.zeros((len(cases), 2), dtype=torch.float64)
        for places, images, owners in chunks(self.presentation, cases, self.planes):
            found = self.module.logits(torch.from_numpy(images).to(device)[:, None])
            logits[places] = mean_of_cases(found, owners).cpu()
        labels = self.cohort.labels[cases]
        losses = nn.functional.cross_entropy(logits, torch.from_numpy(labels), reduction="none").numpy()
        figures = {"loss": float((losses * self.weights[labels]).mean())}
        return figures | ({"auc": auc(labels, (logits[:, 1] - logits[:, 0]).numpy())} if len(set(labels)) == 2 else {})


def _loss(logits: Tensor, batch: LabeledBatch) -> Tensor:
    # Divided by the number of samples and not, as the weighted mean would, by the batch's own weights: small batches
    # without the rarer class then do not count more than others.
    return (nn.functional.cross_entropy(logits, batch.labels, reduction="none") * batch.weights).mean()


def fit_probe(task: FinetuningTask, device: torch.device) -> None:
    """Set a fold's linear layer by logistic regression on the features of its training part; the encoder stays.

    Both planes of a case are separate samples, as in fine-tuning; no augmentation.
    """
    train = task.fold.train
    values = features(task.module.encoder, task.presentation, train, device)[:, list(task.planes)]
    labels = np.repeat(task.cohort.labels[train], len(task.planes))
    weights, bias = fit_logistic(values.flatten(0, 1).numpy(), labels, FEATURE_PENALTY)
    # Two logits whose difference is the logistic model's: what a two-class layer with cross-entropy would hold.
    head = task.module.cpu().head
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(np.stack([-weights / 2, weights / 2])))
        head.bias.copy_(torch.tensor([-bias / 2, bias / 2]))


def finetune(
    cohort: Cohort,
    run: FinetuningConfiguration,
    job: Job,
    home: Path,
    device: torch.device,
    data: list[dict[str, Any]],
    start: StartingPoint | None,
    stop: StopRequest,
    protocol: str = "honest",
    processes: Processes = Processes(),  # noqa: B008 - frozen
) -> TrainedFolds | None:
    """Fine-tune all folds in an opened job, or continue it.

    cohort: labeled cases only. start: None from scratch. Returns what is to be evaluated; None in processes that do not
    lead. Raises InputError: one class, too few patients, pre-training data that are gone; and what ``Job.declare`` and
    ``train`` raise.
    """
    if run.linear_probe and start is None:
        raise UsageError(
            "A linear probe needs an encoder that has learned something. Name a pre-training job with --from.", "probe"
        )
    flat = cohort.kind.name == "picture"
    if start is not None and start.flat is (not flat):
        ours, theirs = ("2-D pictures", "nodules in CT") if flat else ("nodules in CT", "2-D pictures")
        raise InputError(f"These data are {ours}, but the pre-training learned from {theirs}. Pre-train again.", "kind")
    division = division_of(cohort, run)
    folds, run = division.folds, replace(run, folds=len(division.folds))
    pretraining, leaky = check_protocol(protocol, cohort.subset(division.untouched), start)
    preprocessing = start.preprocessing if start else None
    if preprocessing is None:
        preprocessing = measure_preprocessing(cohort.of_parts(TRAIN), run.augmentation, run.encoder.image_size)
    if flat:
        preprocessing = replace(preprocessing, angles=run.angles, stored_side=STORED_SIDE)
    refuse_older(job)
    job.declare(
        {
            "configuration": to_json(run),
            "preprocessing": asdict(preprocessing),
            "protocol": protocol,
            "leaky": leaky,
            "pretraining": pretraining,
            "from": start.source if start else SCRATCH,
            "pretraining_fingerprint": start.fingerprint if start else None,
            "data": data,
            "data_fingerprint": cohort.fingerprint,
            "cohort": cohort.of_parts(TRAIN, VALIDATION).facts(),
            "parts": part_counts(cohort),
        }
    )
    if processes.leads:
        keep_start(job, start)
    job.log(
        f"Fine-tuning from {start.kind if start else SCRATCH} on {len(cohort)} cases "
        f"({int((cohort.labels == 1).sum())} malignant, {int((cohort.labels == 0).sum())} benign), "
        f"{_folds_text(division, run)}{', linear probe' if run.linear_probe else ''}, on {device}."
    )
    if cohort.is_divided:
        job.log(describe_parts(cohort, division))
    everyone = None
    if pretraining == IN_FOLD:
        everyone = cohort_of(start.pretraining, home)
        job.log(
            "The pre-training saw patients that are evaluated here: it is repeated in each fold without those that the "
            "fold tests (--protocol honest)."
        )
    stages = 2 if pretraining == IN_FOLD else 1
    job.update(folds=run.folds, parts=stages * run.folds)
    for fold in folds:
        if _fold_is_done(job.folder, fold):
            continue
        place = fold_folder(job.folder, fold.number)
        state = start.state if start else None
        if everyone is not None:
            job.update(stage=f"Pre-training of fold {fold.number + 1} of {run.folds}", part=stages * fold.number)
            tested = {cohort.cases[int(case)].patient for case in division.tested_by(fold)}
            state = pretrain_without(
                tested, everyone, start.pretraining, fold.number, job, place, device, stop, processes
            )
        task = FinetuningTask(cohort, fold, run, preprocessing, state)
        best_epoch = None
        part = stages * fold.number + stages - 1
        job.update(stage=f"Fine-tuning of fold {fold.number + 1} of {run.folds}", part=part)
        if run.linear_probe:
            fit_probe(task, device)
            if processes.leads:
                save_weights(place, task.module)
        else:
            outcome = train(
                task,
                run,
                job,
                place / "checkpoints",
                cohort.fingerprint,
                device,
                stop,
                processes,
                patience=run.patience,
                window=run.loss_window,
                fold=fold.number,
            )
            task.module.load_state_dict(outcome.best)
            best_epoch = outcome.position.best_epoch
        if processes.leads:
            _finish_fold(job, task, division, best_epoch, place, device, state)
    if not processes.leads:
        return None
    return TrainedFolds(job, cohort, division, run, preprocessing, device)


def division_of(cohort: Cohort, run: FinetuningConfiguration) -> Division:
    """The folds of a fine-tuning. Raises what ``divide`` raises."""
    return divide(
        cohort, run.folds, run.validation_fraction, run.split_seed, run.labeled_cases, folds_from=run.folds_from
    )


def part_counts(cohort: Divisible) -> dict[str, int] | None:
    """How many cases the manifest's split puts into each part; None where it has no split."""
    if not cohort.is_divided:
        return None
    return {part: int((cohort.parts == part).sum()) for part in (TRAIN, VALIDATION, TEST)}


def describe_parts(cohort: Divisible, division: Division) -> str:
    """What the manifest's split makes of the cases, in one line."""
    counts = part_counts(cohort)
    text = f"The manifest's split: {', '.join(f'{count} {part}' for part, count in counts.items())} cases."
    if counts[TEST]:
        text += " Test cases train nothing and choose nothing."
    if counts[VALIDATION]:
        text += " Validation cases choose the epoch" + (" of one model." if division.by_split else " of every fold.")
    return text


def _folds_text(division: Division, run: FinetuningConfiguration) -> str:
    if division.by_split:
        return "one model"
    return f"{run.folds} folds" + (f" of the column {run.folds_from}" if run.folds_from else "")


def _fold_is_done(folder: Path, fold: Fold) -> bool:
    return (fold_folder(folder, fold.number) / "result.json").is_file()


def _finish_fold(
    job: Job,
    task: FinetuningTask,
    division: Division,
    best_epoch: int | None,
    place: Path,
    device: torch.device,
    pretrained: dict[str, Tensor] | None,
) -> None:
    """Predict the test part once and the validation part, keep the features' statistics; result.json comes last.

    pretrained: the encoder as the pre-training left it; a logistic model on its features is a baseline.
    """
    cohort, fold = task.cohort, task.fold
    module = task.module.to(device).eval()
    parts = {
        name: features(module.encoder, task.presentation, getattr(fold, name), device)
        for name in ("train", "validation", "test")
    }
    # What a model knows is measured on other cases than what is new to it: those of its test part, or the validation.
    known = parts["train"] if division.by_split else torch.cat([parts["train"], parts["validation"]])
    with replacing(place / "statistics.safetensors") as temporary:
        save_file(feature_statistics(known, task.presentation.planes), temporary)
    result: dict[str, Any] = {"fold": fold.number, "best_epoch": best_epoch, "trained_on": len(fold.train)}
    for name in ("validation", "test"):
        result[name] = prediction_rows(cohort, getattr(fold, name), predict(module, parts[name], task.planes))
    result["parts"] = {}
    for name in (VALIDATION, TEST):
        cases = getattr(division, name)
        if len(cases):
            values = features(module.encoder, task.presentation, cases, device)
            result["parts"][name] = prediction_rows(cohort, cases, predict(module, values, task.planes))
    if pretrained is not None:
        frozen = build_encoder(task.run.encoder)
        frozen.load_state_dict(pretrained)
        result["frozen"] = _frozen_baseline(task, frozen, device)
    write_json(place / "result.json", result)
    for done in (place / "checkpoints" / "last", place / "pretraining"):  # a finished fold is not continued
        shutil.rmtree(done, ignore_errors=True)
    job.event(phase="fold", fold=fold.number, best_epoch=best_epoch, cases=len(fold.test))


def _frozen_baseline(task: FinetuningTask, frozen: nn.Module, device: torch.device) -> list[dict[str, Any]]:
    """Probabilities of the test part by a logistic model on the features of the encoder before fine-tuning."""
    fold, cohort = task.fold, task.cohort
    known = np.concatenate([fold.train, fold.validation])
    values, tested = (features(frozen, task.presentation, cases, device).flatten(1) for cases in (known, fold.test))
    weights, bias = fit_logistic(values.numpy(), cohort.labels[known], FEATURE_PENALTY)
    probabilities = torch.sigmoid(tested @ torch.from_numpy(weights) + bias)
    return prediction_rows(cohort, fold.test, probabilities.numpy())


def prediction_rows(cohort: Divisible, cases: np.ndarray, probabilities: np.ndarray) -> list[dict[str, Any]]:
    """What result.json keeps of the predictions of cases."""
    rows = []
    for case, probability in zip(cases.tolist(), probabilities.tolist(), strict=True):
        entry = cohort.cases[case]
        rows.append(
            {
                "case_id": entry.case_id,
                "patient": entry.patient,
                "row": entry.row,
                "label": int(cohort.labels[case]),
                "probability": float(probability),
            }
        )
    return rows
