"""Fine-tuning as a job: fold models by patient, each stopped by its own validation part and tested once.

Zhao et al. 2025, section 3.4: the pre-trained encoder and one two-class layer, no masking. Both planes of a nodule are
separate samples of one head; at inference the mean of their logits decides.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from MAEMCLib.atomic import file_sha256, read_json, replacing, write_json
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.montage import Preprocessing
from MAEMCLib.networks.classifier import Classifier
from MAEMCLib.networks.configuration import EncoderConfiguration
from safetensors.torch import save_file
from torch import Tensor, nn

from .checkpoints import read_tensors
from .configuration import FinetuningConfiguration, to_json
from .data.augmentation import View, draw_view, montage, montage_pair
from .data.cohort import Cohort, measure_preprocessing
from .data.folds import Fold, make_folds
from .draws import generator
from .engine import train
from .evaluation.logistic import FEATURE_PENALTY, fit_logistic
from .jobs import Job, StopRequest, open_job
from .optimization import NamedParameter, layer_scale
from .pretraining.run import PretrainedJob

_PLANES = {"mean": (0, 1), "axial": (0,), "coronal": (1,)}
_CHUNK = 32


@dataclass
class LabeledBatch:
    """images (B, 1, 250, 250) normalized, labels (B,) int64, weights (B,) of the classes."""

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


class FinetuningTask:
    """One fold: a classifier on the montages of its training part. A sample is a case and one of its planes."""

    phase = "finetune"
    images_per_sample = 1

    def __init__(
        self,
        cohort: Cohort,
        fold: Fold,
        run: FinetuningConfiguration,
        preprocessing: Preprocessing,
        encoder_state: dict[str, Tensor] | None,
    ) -> None:
        self.cohort, self.fold, self.run, self.preprocessing = cohort, fold, run, preprocessing
        self.planes = _PLANES[run.fusion]
        self.samples = len(fold.train) * len(self.planes)
        self.steps_per_epoch = -(-self.samples // run.batch)
        self.weights = class_weights(cohort.labels[fold.train], run.class_weights)
        self.seed = int(generator(run.seed, "fold", 0, fold.number).integers(2**31))
        self.module: nn.Module = Classifier(run.encoder, classes=2, seed=self.seed)
        if encoder_state is not None:
            self.module.encoder.load_state_dict(encoder_state)

    def parameters(self) -> list[NamedParameter]:
        """All of the classifier's, the deeper the slower."""
        depth, decay = self.run.encoder.depth, self.run.optimization.layer_decay
        return [NamedParameter(name, p, layer_scale(name, depth, decay)) for name, p in self.module.named_parameters()]

    def samples_of(self, epoch: int, index: int) -> list[tuple[int, int]]:
        """(index into the cohort, plane) of one batch."""
        order = generator(self.seed, "order", epoch).permutation(self.samples)
        chosen = order[index * self.run.batch : (index + 1) * self.run.batch].tolist()
        count = len(self.planes)
        return [(int(self.fold.train[sample // count]), self.planes[sample % count]) for sample in chosen]

    def names(self, epoch: int, index: int) -> list[str]:
        """The case_ids of a batch."""
        return [self.cohort.cases[case].case_id for case, _ in self.samples_of(epoch, index)]

    def batch(self, epoch: int, index: int) -> tuple[LabeledBatch, dict[str, float]]:
        """Augmented montages of one batch; the padded share."""
        images, cases, padded = [], [], 0.0
        for case, plane in self.samples_of(epoch, index):
            # With the paper's 40 views one is drawn each epoch; an epoch shows every case once in each plane.
            sample = 2 * case + plane
            number = int(generator(self.seed, "view-number", epoch, sample).integers(40))
            view = draw_view(self.run.augmentation, self.cohort.slice_step_mm, self.seed, epoch, sample, number)
            image, outside = montage(self.cohort.stacks(case), plane, view, self.preprocessing)
            padded += outside
            images.append(image)
            cases.append(case)
        return self._labeled(np.stack(images), np.array(cases)), {"padded_fraction": round(padded / len(images), 6)}

    def _labeled(self, images: np.ndarray, cases: np.ndarray) -> LabeledBatch:
        labels = self.cohort.labels[cases]
        return LabeledBatch(
            torch.from_numpy(np.ascontiguousarray(images))[:, None],
            torch.from_numpy(labels),
            torch.from_numpy(self.weights[labels].astype(np.float32)),
        )

    def step(self, batch: LabeledBatch) -> dict[str, Tensor]:
        """Weighted cross-entropy, the mean over samples."""
        return {"loss": _loss(self.module(batch.images), batch)}

    @torch.no_grad()
    def validate(self, device: torch.device) -> float:
        """The same loss on the validation part without augmentation."""
        self.module.eval()
        total, count = 0.0, 0
        for start in range(0, len(self.fold.validation), _CHUNK):
            cases = self.fold.validation[start : start + _CHUNK]
            pairs = plain_montages(self.cohort, cases, self.preprocessing)
            for plane in self.planes:
                batch = self._labeled(pairs[:, plane], cases).to(device)
                total += float(_loss(self.module(batch.images), batch)) * len(batch)
                count += len(batch)
        return total / count


def _loss(logits: Tensor, batch: LabeledBatch) -> Tensor:
    # Divided by the number of samples and not, as the weighted mean would, by the batch's own weights: small batches
    # without the rarer class then do not count more than others.
    return (nn.functional.cross_entropy(logits, batch.labels, reduction="none") * batch.weights).mean()


def plain_montages(cohort: Cohort, cases: Sequence[int] | np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """(cases, 2, 250, 250) float32 network input without augmentation, as scoring sees it."""
    return np.stack([montage_pair(cohort.stacks(int(case)), View(), preprocessing)[0] for case in cases])


def fit_probe(task: FinetuningTask, device: torch.device) -> None:
    """Set a fold's linear layer by logistic regression on the class tokens of its training part; the encoder stays.

    Both planes of a case are separate samples, as in fine-tuning; no augmentation.
    """
    train = task.fold.train
    tokens = class_tokens(task.module.encoder, task.cohort, train, task.preprocessing, device)[:, list(task.planes)]
    labels = np.repeat(task.cohort.labels[train], len(task.planes))
    weights, bias = fit_logistic(tokens.flatten(0, 1).numpy(), labels, FEATURE_PENALTY)
    # Two logits whose difference is the logistic model's: what a two-class layer with cross-entropy would hold.
    head = task.module.cpu().head
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(np.stack([-weights / 2, weights / 2])))
        head.bias.copy_(torch.tensor([-bias / 2, bias / 2]))


@torch.no_grad()
def class_tokens(
    encoder: nn.Module, cohort: Cohort, cases: np.ndarray, preprocessing: Preprocessing, device: torch.device
) -> Tensor:
    """(cases, 2, width) float64 on the CPU: the class token of each plane, all patches visible, no augmentation."""
    encoder.eval().to(device)
    parts = []
    for start in range(0, len(cases), _CHUNK):
        pairs = torch.from_numpy(plain_montages(cohort, cases[start : start + _CHUNK], preprocessing)).to(device)
        tokens = encoder(pairs.flatten(0, 1)[:, None])[:, 0]
        parts.append(tokens.unflatten(0, (-1, 2)).cpu().double())
    return torch.cat(parts)


def predict(classifier: nn.Module, tokens: Tensor, fusion: str) -> np.ndarray:
    """(cases,) probability of malignancy from class tokens (cases, 2, width): the mean of the planes' logits."""
    head = classifier.head
    logits = nn.functional.linear(tokens, head.weight.detach().double().cpu(), head.bias.detach().double().cpu())
    margin = (logits[..., 1] - logits[..., 0])[:, list(_PLANES[fusion])].mean(dim=1)
    return torch.sigmoid(margin).numpy()


def feature_statistics(tokens: Tensor) -> dict[str, Tensor]:
    """Mean (width,) and covariance (width, width) of each plane's class token, float32: what the model is used to."""
    statistics = {"count": torch.tensor(float(len(tokens)))}
    for plane, name in enumerate(("axial", "coronal")):
        values = tokens[:, plane]
        statistics[f"{name}_mean"] = values.mean(dim=0).float()
        statistics[f"{name}_covariance"] = torch.cov(values.T).float()
    return statistics


def check_protocol(protocol: str, cohort: Cohort, pretrained: PretrainedJob | None) -> bool:
    """Whether the evaluation leaks: patients tested here were seen by the pre-training.

    ``honest`` refuses that with an InputError; ``paper`` allows it, as the paper did, and the report says so.
    """
    if pretrained is None:
        return False
    if pretrained.cohort["pseudonym_key"] != cohort.pseudonym_key:
        message = (
            "The pre-training's pseudonyms were made with another key, so its patients cannot be compared with these"
        )
        shared = None
    else:
        shared = set(pretrained.cohort["pseudonyms"]) & {case.patient for case in cohort.cases}
        message = f"{len(shared)} of the patients to be evaluated were part of the pre-training"
    if shared is not None and not shared:
        return False
    if protocol == "paper":
        return True
    raise InputError(
        f"{message}, so the evaluation would not be honest. Pre-train without them (--unlabeled-data takes only "
        "patients without a label), or choose --protocol paper: the published way, and the report is marked as leaky.",
        "leaky",
    )


def finetune(
    cohort: Cohort,
    run: FinetuningConfiguration,
    folder: Path,
    home: Path,
    device: torch.device,
    data: list[dict[str, Any]],
    pretrained: PretrainedJob | None,
    protocol: str = "honest",
    command: str = "",
    quiet: bool = False,
) -> dict[str, Any]:
    """Fine-tune all folds in a job folder, or continue the job that is there, and evaluate out of fold.

    cohort: labeled cases only. Returns what metrics.json holds. Raises InputError: one class, too few patients, a leaky
    protocol; and what ``open_job`` and ``train`` raise.
    """
    from .evaluation.report import evaluate_job, format_table

    if run.linear_probe and pretrained is None:
        raise UsageError(
            "A linear probe needs an encoder that has learnt something. Name a pre-training job with --from.", "probe"
        )
    leaky = check_protocol(protocol, cohort, pretrained)
    folds = make_folds(cohort.labels, cohort.patients, run.folds, run.validation_fraction, run.seed)
    preprocessing = pretrained.preprocessing if pretrained else measure_preprocessing(cohort)
    settings = {
        "kind": "finetune",
        "configuration": to_json(run),
        "preprocessing": asdict(preprocessing),
        "protocol": protocol,
        "leaky": leaky,
        "from": "scratch" if pretrained is None else str(pretrained.folder.resolve()),
        "pretraining_fingerprint": _fingerprint(pretrained),
        "data": data,
        "data_fingerprint": cohort.fingerprint,
        "cohort": cohort.facts(),
        "command": command,
    }
    encoder_state = pretrained.module.encoder_state() if pretrained else None
    with StopRequest().listening() as stop, open_job(folder, settings, home, quiet) as job:
        job.log(
            f"Fine-tuning {'from ' + pretrained.folder.name if pretrained else 'from scratch'} on {len(cohort)} cases "
            f"({int((cohort.labels == 1).sum())} malignant, {int((cohort.labels == 0).sum())} benign), "
            f"{run.folds} folds{', linear probe' if run.linear_probe else ''}, on {device}."
        )
        for fold in folds:
            if _fold_is_done(folder, fold):
                continue
            task = FinetuningTask(cohort, fold, run, preprocessing, encoder_state)
            place = fold_folder(folder, fold.number)
            job.update(folds=run.folds)
            if run.linear_probe:
                fit_probe(task, device)
                save_weights(place, task.module)
                _finish_fold(job, task, None, place, device)
                continue
            outcome = train(
                task,
                run,
                job,
                place / "checkpoints",
                cohort.fingerprint,
                device,
                stop,
                patience=run.patience,
                label=f"fold {fold.number + 1}/{run.folds}  ",
                fold=fold.number,
            )
            task.module.load_state_dict(outcome.best)
            _finish_fold(job, task, outcome.position.best_epoch, place, device)
        report = evaluate_job(job, cohort, folds, run, preprocessing, pretrained, device)
        if not quiet:
            print(format_table(report))
    return report


def _fingerprint(pretrained: PretrainedJob | None) -> str | None:
    if pretrained is None:
        return None
    return file_sha256(pretrained.folder / "checkpoints" / "last" / "model.safetensors")


def fold_folder(folder: Path, number: int) -> Path:
    """Where a job keeps one of its fold models."""
    return folder / "folds" / str(number)


def _fold_is_done(folder: Path, fold: Fold) -> bool:
    return (fold_folder(folder, fold.number) / "result.json").is_file()


def _finish_fold(job: Job, task: FinetuningTask, best_epoch: int | None, place: Path, device: torch.device) -> None:
    """Predict the test part once and the validation part, keep the features' statistics; result.json comes last."""
    cohort, fold = task.cohort, task.fold
    module = task.module.to(device).eval()
    parts = {}
    for name in ("train", "validation", "test"):
        cases = getattr(fold, name)
        parts[name] = class_tokens(module.encoder, cohort, cases, task.preprocessing, device)
    known = torch.cat([parts["train"], parts["validation"]])
    with replacing(place / "statistics.safetensors") as temporary:
        save_file(feature_statistics(known), temporary)
    result: dict[str, Any] = {"fold": fold.number, "best_epoch": best_epoch, "trained_on": len(fold.train)}
    for name in ("validation", "test"):
        probabilities = predict(module, parts[name], task.run.fusion)
        result[name] = [
            {"case_id": cohort.cases[int(case)].case_id, "probability": float(p)}
            for case, p in zip(getattr(fold, name), probabilities, strict=True)
        ]
    write_json(place / "result.json", result)
    shutil.rmtree(place / "checkpoints" / "last", ignore_errors=True)  # a finished fold is not continued
    job.event(phase="fold", fold=fold.number, best_epoch=best_epoch, cases=len(fold.test))


def fold_result(folder: Path, number: int) -> dict[str, Any]:
    """result.json of one fold."""
    return read_json(fold_folder(folder, number) / "result.json", f"The result of fold {number + 1}")


def save_weights(place: Path, module: nn.Module) -> None:
    """Keep a fold's weights where ``load_fold`` looks for them."""
    target = place / "checkpoints" / "best" / "model.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, temporary)


def load_fold(folder: Path, number: int, encoder: EncoderConfiguration) -> Classifier:
    """The classifier of a finished fold. Raises ModelError."""
    classifier = Classifier(encoder, classes=2)
    classifier.load_state_dict(read_tensors(fold_folder(folder, number) / "checkpoints" / "best" / "model.safetensors"))
    return classifier.eval()


def labeled(cohort: Cohort) -> Cohort:
    """The cases with a label. Raises UsageError where there is none."""
    indices = np.flatnonzero(cohort.labels >= 0)
    if not len(indices):
        raise UsageError("No case of the data has a label. Fill the manifest's label column with 0 or 1.", "no-labels")
    return cohort.subset(indices)


def write_predictions(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """predictions.csv: case_id, patient_id (pseudonym), fold, label, probability."""
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["case_id", "patient_id", "fold", "label", "probability"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
