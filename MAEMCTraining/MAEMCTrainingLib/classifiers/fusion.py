"""Multi-modal fusion as a job: image branches and clinical values in one graph, trained in folds by patient.

The network is ``MAEMCLib.networks.heads.graph``. The loss is the cross-entropy of the fused logits plus the mean
cross-entropy of the observed branches' own, weighted by class. Each fold is stopped by its own validation part and
tested once; the numbers among the clinical values are standardized by its training part.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.files.atomic import write_json
from MAEMCLib.inputs.settings import Preprocessing
from MAEMCLib.networks.classifier import Logits
from MAEMCLib.networks.configuration import CLINICAL, BackboneConfiguration, EncoderConfiguration, GraphConfiguration
from MAEMCLib.networks.heads.graph import GraphHead
from torch import Tensor, nn

from ..data.folds import Division, Fold, divide
from ..data.kinds.montage_views import View, draw_view
from ..data.parts import TEST, TRAIN, VALIDATION
from ..data.preprocessing import measure_preprocessing
from ..engine.checkpoints import read_tensors
from ..engine.configuration import Augmentation, Optimization, to_json
from ..engine.loop import train
from ..engine.optimization import NamedParameter
from ..engine.processes import Processes
from ..engine.rng import generator
from ..engine.task import Task, sample_in_epoch
from ..evaluation.metrics import macro_auc_row
from ..jobs.job import Job, refuse_older
from ..jobs.stopping import StopRequest
from ..pretraining.run import cohort_of
from .finetuning import describe_parts, part_counts
from .fold_model import TrainedFolds, fold_folder
from .fusion_data import FusionCohort
from .protocol import IN_FOLD, check_protocol, pretrain_without
from .starting_point import SCRATCH, StartingPoint

PRESETS = ("default", "tiny")
IMAGES_ALONE = "images alone"
_CHUNK = 16


@dataclass(frozen=True)
class FusionConfiguration:
    """A fusion run. The source publishes no settings; all of these are ours."""

    encoder: EncoderConfiguration | BackboneConfiguration
    width: int = 64  # of a node of the graph
    rounds: int = 2  # of messages
    positive: str = ""  # of two classes the positive one; empty: the second in order
    folds: int = 5  # 1: the one model that a manifest's validation rows stop
    folds_from: str = ""  # the manifest's column that names each case's fold; empty: folds are drawn
    epochs: int = 100
    patience: int = 30  # epochs without a lower validation loss before a fold stops
    batch: int = 16
    validation_fraction: float = 0.15  # of the training patients, held out for early stopping
    class_weights: bool = True
    encoder_rate: float = 1.0  # learning rate of the encoder relative to that of the graph
    images_alone: bool = True  # train the same network without the clinical values too: it says what they add
    accumulation: int = 1  # shares in which a batch passes, one after another: less memory; batch norms see a share
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"  # auto: float32 on a processor
    seed: int = 0
    log_every: int = 10  # steps
    checkpoint_seconds: float = 60.0
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(shift_mm=3))
    optimization: Optimization = field(default_factory=lambda: Optimization(learning_rate=3e-4))

    def __post_init__(self) -> None:
        for name in ("width", "rounds", "epochs", "patience", "batch", "accumulation", "log_every"):
            _check(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it has to be at least 1.")
        _check(self.folds >= 1, f"folds is {self.folds}; it has to be at least 1.")
        _check(0 <= self.seed < 2**63, f"seed is {self.seed}; choose 0 or a positive number.")
        _check(self.accumulation <= self.batch, "accumulation cannot be larger than batch.")
        _check(0 < self.validation_fraction < 0.5, "validation_fraction has to lie between 0 and 0.5.")
        _check(0 < self.encoder_rate <= 1, f"encoder_rate is {self.encoder_rate}; choose above 0 up to 1.")
        _check(self.checkpoint_seconds >= 0, "checkpoint_seconds cannot be negative.")


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message, "configuration")


def fusion_preset(
    name: str, encoder: EncoderConfiguration | BackboneConfiguration | None, scratch: bool
) -> FusionConfiguration:
    """The preset of fusion. encoder: the pre-trained one's or the one asked for; None: the preset's own ResNet-18.

    Raises UsageError for a name that there is none of.
    """
    _check(
        name in PRESETS,
        f"Fusion has no preset '{name}': its source publishes no settings. Choose {' or '.join(PRESETS)}.",
    )
    base = FusionConfiguration(encoder or BackboneConfiguration("resnet18", 125 if name == "tiny" else 250))
    # What the encoder has learned is kept by moving it more slowly than the graph, which starts from nothing.
    base = replace(base, encoder_rate=1.0 if scratch else 0.3)
    if name == "tiny":
        # For a processor in minutes: montages at half their side, and fewer epochs of more steps at a higher rate. In
        # a trial on 84 real nodules the graph needed some 100 steps to read the clinical values at all.
        return replace(base, epochs=30, patience=12, batch=8, optimization=Optimization(learning_rate=1e-3))
    return base


@dataclass
class FusionBatch:
    """images (B, K, 1, S, S) normalized, seen (B, K), values and given (B, A), labels (B,), weights (B,) of classes."""

    images: Tensor
    seen: Tensor
    values: Tensor
    given: Tensor
    labels: Tensor
    weights: Tensor

    def to(self, device: torch.device | str) -> FusionBatch:
        """The same batch on another device."""
        return FusionBatch(*(part.to(device, non_blocking=True) for part in vars(self).values()))

    def __len__(self) -> int:
        return len(self.labels)


class FusionTask(Task):
    """One fold: the fusion network on the cases of its training part. A sample is a case."""

    phase = "finetune"
    divisible = True

    def __init__(
        self,
        cohort: FusionCohort,
        fold: Fold,
        run: FusionConfiguration,
        preprocessing: Preprocessing,
        encoder_state: dict[str, Tensor] | None,
    ) -> None:
        self.cohort, self.fold, self.run, self.preprocessing = cohort, fold, run, preprocessing
        self.samples, self.images_per_sample = len(fold.train), len(cohort.branches)
        self.weights = balanced_weights(cohort.labels[fold.train], len(cohort.classes), run.class_weights)
        self.seed = int(generator(run.seed, "fold", 0, fold.number).integers(2**31))
        graph = GraphConfiguration(cohort.branches, cohort.attributes, run.width, run.rounds)
        self.module: nn.Module = GraphHead(run.encoder, len(cohort.classes), self.seed, graph)
        self.module.set_standardization(*standardization(cohort, fold.train))
        if encoder_state is not None:
            self.module.encoder.load_state_dict(encoder_state)

    def parameters(self) -> list[NamedParameter]:
        """All of the network's; the encoder at its own rate."""
        return [
            NamedParameter(name, parameter, self.run.encoder_rate if name.startswith("encoder.") else 1.0)
            for name, parameter in self.module.named_parameters()
        ]

    def order(self, epoch: int) -> np.ndarray:
        """The epoch's own permutation of the cases."""
        return generator(self.seed, "order", epoch).permutation(self.samples)

    def names(self, samples: Sequence[int] | np.ndarray) -> list[str]:
        """The cases of a batch."""
        return [self.cohort.cases[int(self.fold.train[sample_in_epoch(code)[1]])].where for code in samples]

    def batch(self, samples: Sequence[int] | np.ndarray) -> tuple[FusionBatch, dict[str, float]]:
        """Augmented images of one batch, the same view of all branches of a case; the share of branches observed."""
        cases, views = [], []
        for code in samples:
            epoch, number = sample_in_epoch(code)
            case = int(self.fold.train[number])
            draw = int(generator(self.seed, "view-number", epoch, case).integers(40))
            step = self.cohort.main.settings.slice_step_mm
            views.append(draw_view(self.run.augmentation, step, self.seed, epoch, case, draw))
            cases.append(case)
        batch = self._batch(np.array(cases), views)
        return batch, {"observed": float(batch.seen.float().mean())}

    def _batch(self, cases: np.ndarray, views: Sequence[View]) -> FusionBatch:
        cohort, side = self.cohort, self.run.encoder.image_size
        images = np.zeros((len(cases), len(cohort.branches), side, side), np.float32)
        for row, (case, view) in enumerate(zip(cases.tolist(), views, strict=True)):
            for branch in np.flatnonzero(cohort.seen[case]).tolist():
                images[row, branch] = cohort.image(case, branch, view, self.preprocessing, side)
        labels = cohort.labels[cases]
        return FusionBatch(
            torch.from_numpy(images)[:, :, None],
            torch.from_numpy(cohort.seen[cases]),
            torch.from_numpy(cohort.values[cases]),
            torch.from_numpy(cohort.given[cases]),
            torch.from_numpy(labels),
            torch.from_numpy(self.weights[labels].astype(np.float32)),
        )

    def step(self, model: nn.Module, batch: FusionBatch) -> tuple[dict[str, Tensor], None]:
        """The loss and its two parts, means over samples."""
        found = model(batch.images, batch.seen, batch.values, batch.given)
        fused, branches = losses(found, batch.labels, batch.weights)
        return {"loss": fused + branches, "loss_fused": fused.detach(), "loss_branches": branches.detach()}, None

    def validate(self, device: torch.device) -> dict[str, float]:
        """The same loss on the validation part without augmentation; the macro AUC where every class is there."""
        cases = self.fold.validation
        found = self.outputs(cases, device)
        labels = torch.from_numpy(self.cohort.labels[cases])
        fused, branches = losses(found, labels, torch.from_numpy(self.weights[labels.numpy()]))
        figures = {"loss": float(fused + branches)}
        if len(np.unique(labels)) == len(self.cohort.classes):
            row = macro_auc_row(labels.numpy(), found.fused.softmax(dim=1).numpy(), np.ones((1, len(cases))))
            figures["auc"] = float(row[0])
        return figures

    @torch.no_grad()
    def outputs(self, cases: np.ndarray, device: torch.device) -> Logits:
        """The network's logits of cases without augmentation, in double precision on the CPU."""
        self.module.to(device).eval()
        parts = []
        for start in range(0, len(cases), _CHUNK):
            chunk = cases[start : start + _CHUNK]
            batch = self._batch(chunk, [View()] * len(chunk)).to(device)
            parts.append(self.module(batch.images, batch.seen, batch.values, batch.given))
        return Logits(
            torch.cat([part.fused for part in parts]).double().cpu(),
            torch.cat([part.branches for part in parts]).double().cpu(),
            torch.cat([part.observed for part in parts]).cpu(),
        )


def losses(found: Logits, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted cross-entropy of the fused logits, and of the observed branches' own (mean of a case's branches)."""
    fused = nn.functional.cross_entropy(found.fused, labels, reduction="none")
    count = found.branches.shape[1]
    every = nn.functional.cross_entropy(
        found.branches.flatten(0, 1), labels.repeat_interleave(count), reduction="none"
    ).unflatten(0, (-1, count))
    branches = (every * found.observed).sum(dim=1) / found.observed.sum(dim=1)
    return (fused * weights).mean(), (branches * weights).mean()


def balanced_weights(labels: np.ndarray, classes: int, weighted: bool) -> np.ndarray:
    """(classes,) n / (C n_c): every class counts the same; ones where not weighted."""
    counts = np.bincount(labels, minlength=classes)
    return len(labels) / (classes * counts) if weighted else np.ones(classes)


def standardization(cohort: FusionCohort, cases: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean and deviation, (A,), of the numbers that are known of some cases; 0 and 1 for choices."""
    center, scale = np.zeros(len(cohort.attributes)), np.ones(len(cohort.attributes))
    for a, choices in enumerate(cohort.attributes):
        known = cohort.values[cases, a][cohort.given[cases, a]].astype(float)
        if not choices and len(known):
            center[a] = known.mean()
            scale[a] = known.std() if known.std() > 0 else 1.0
    return torch.from_numpy(center), torch.from_numpy(scale)


def divide_classes(cohort: FusionCohort, run: FusionConfiguration, say: Any = lambda line: None) -> Division:
    """Folds by patient for any number of classes, or what the manifest's split says. say: is told of classes that a
    fold cannot test.

    Raises InputError: a class with one patient, one that a fold could not train on, fewer patients than folds; what
    ``divide`` raises.
    """
    labels, patients, classes = cohort.labels, cohort.patients, cohort.classes
    trains = cohort.parts == TRAIN
    for number, name in enumerate(classes):
        count = len(np.unique(patients[(labels == number) & trains]))
        if count < (1 if VALIDATION in cohort.parts else 2):
            raise InputError(
                f"Only {'one patient has' if count else 'no patient has'} a case of the class {name}, so that no fold "
                "can both train and test on it. Add cases, or merge it with another class.",
                "too-few-patients",
            )
    division = divide(cohort, run.folds, run.validation_fraction, run.seed, folds_from=run.folds_from)
    for fold in division.folds:
        untrained = sorted(set(range(len(classes))) - set(labels[fold.train].tolist()))
        if untrained:
            raise InputError(
                f"Fold {fold.number + 1} has no case of the class {classes[untrained[0]]} to train on: its patients "
                "are too few, or have cases of other classes too. Choose another seed, fewer folds, or add cases.",
                "class-absent",
            )
        untested = sorted(set(range(len(classes))) - set(labels[fold.test].tolist()))
        if untested:
            say(
                f"Fold {fold.number + 1} tests no case of the class {', '.join(classes[n] for n in untested)}: fewer "
                "patients than folds. The figures are of all folds together."
            )
    return division


def fuse(
    cohort: FusionCohort,
    run: FusionConfiguration,
    job: Job,
    home: Path,
    device: torch.device,
    data: list[dict[str, Any]],
    start: StartingPoint | None,
    stop: StopRequest,
    protocol: str = "honest",
    processes: Processes = Processes(),  # noqa: B008 - frozen
) -> TrainedFolds | None:
    """Train all folds in an opened job, or continue it.

    Returns what is to be evaluated; None in processes that do not lead. Raises InputError: too few patients,
    pre-training data that are gone, a pre-training on pictures; and what ``Job.declare`` and ``train`` raise.
    """
    if start is not None and start.flat:
        raise InputError(
            "This encoder was pre-trained on 2-D pictures, and fusion's images are montages of CT. Pre-train on "
            "nodules in CT.",
            "kind",
        )
    division = divide_classes(cohort, run, job.log)
    folds, run = division.folds, replace(run, folds=len(division.folds))
    pretraining, leaky = check_protocol(protocol, cohort.main.subset(division.untouched), start)
    preprocessing = start.preprocessing if start else None
    if preprocessing is None:
        preprocessing = measure_preprocessing(cohort.main.of_parts(TRAIN), run.augmentation, run.encoder.image_size)
    refuse_older(job)
    job.declare(
        {
            "configuration": to_json(run),
            "preprocessing": asdict(preprocessing),
            "branches": list(cohort.branches),
            "classes": list(cohort.classes),
            "clinical": [one.to_json() for one in cohort.asked],
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
    job.log(_describe(cohort, run, start, device))
    if cohort.is_divided:
        job.log(describe_parts(cohort, division))
    variants = {"": cohort}
    if run.images_alone and cohort.fields:
        variants[IMAGES_ALONE] = cohort.images_alone()
    stages = ["pretraining"] * (pretraining == IN_FOLD) + list(variants)
    everyone = cohort_of(start.pretraining, home) if pretraining == IN_FOLD else None
    job.update(folds=run.folds, parts=len(stages) * run.folds)
    for fold in folds:
        place = fold_folder(job.folder, fold.number)
        if (place / "result.json").is_file():
            continue
        state, part = (start.state if start else None), len(stages) * fold.number
        if everyone is not None:
            job.update(stage=f"Pre-training of fold {fold.number + 1} of {run.folds}", part=part)
            tested = {cohort.cases[int(case)].patient for case in division.tested_by(fold)}
            state = pretrain_without(
                tested, everyone, start.pretraining, fold.number, job, place, device, stop, processes
            )
        results = {}
        for name, seen in variants.items():
            number = stages.index(name)
            text = f"Training of fold {fold.number + 1} of {run.folds}" + (f", {name}" if name else "")
            job.update(stage=text, part=part + number)
            task = FusionTask(seen, fold, run, preprocessing, state)
            # A fold number of its own for each variant: its events and curves stay apart from the model's.
            where = {"fold": fold.number + run.folds * bool(name), **({"variant": name} if name else {})}
            outcome = train(
                task,
                run,
                job,
                place / (name.replace(" ", "-") or "checkpoints"),
                seen.fingerprint,
                device,
                stop,
                processes,
                patience=run.patience,
                **where,
            )
            task.module.load_state_dict(outcome.best)
            results[name] = _predictions(task, division, device) | {"best_epoch": outcome.position.best_epoch}
        if processes.leads:
            alone = {"images_alone": results[IMAGES_ALONE]["test"]} if IMAGES_ALONE in results else {}
            write_json(place / "result.json", {"fold": fold.number, **results[""], **alone})
            for done in ("checkpoints/last", "pretraining", IMAGES_ALONE.replace(" ", "-")):
                shutil.rmtree(place / done, ignore_errors=True)
            job.event(phase="fold", fold=fold.number, best_epoch=results[""]["best_epoch"], cases=len(fold.test))
    if not processes.leads:
        return None
    return TrainedFolds(job, cohort, division, run, preprocessing, device)


def _describe(cohort: FusionCohort, run: FusionConfiguration, start: StartingPoint | None, device: torch.device) -> str:
    counts = cohort.facts()["classes"]
    values = ", ".join(one.name for one in cohort.fields) or "no clinical values"
    return (
        f"Fusion of {', '.join(cohort.branches)} and {values}, "
        f"from {start.kind if start else SCRATCH}, on {len(cohort)} cases "
        f"({', '.join(f'{count} {name}' for name, count in counts.items())}), {run.folds} folds, on {device}."
    )


def _predictions(task: FusionTask, division: Division, device: torch.device) -> dict[str, Any]:
    """Probabilities of the validation and the test part, and of the manifest's ``parts``: fused, and each observed
    branch's own."""
    names = [*task.cohort.branches, *([CLINICAL] if task.cohort.fields else [])]
    result: dict[str, Any] = {"trained_on": len(task.fold.train), "parts": {}}
    for holder, part, into in (
        (task.fold, "validation", result),
        (task.fold, "test", result),
        (division, VALIDATION, result["parts"]),
        (division, TEST, result["parts"]),
    ):
        cases = getattr(holder, part)
        if not len(cases):
            continue
        found = task.outputs(cases, device)
        fused, branches = found.fused.softmax(dim=1).tolist(), found.branches.softmax(dim=2).tolist()
        rows = []
        for row, case in enumerate(cases.tolist()):
            own = {n: branches[row][k] for k, n in enumerate(names) if found.observed[row, k]}
            entry = task.cohort.cases[case]
            known = {"case_id": entry.case_id, "patient": entry.patient, "row": entry.row}
            known["label"] = int(task.cohort.labels[case])
            rows.append({**known, "probabilities": fused[row], "branches": own})
            if len(fused[row]) == 2:
                rows[-1]["probability"] = fused[row][1]
        into[part] = rows
    return result


def load_fusion_fold(folder: Path, number: int) -> dict[str, Tensor]:
    """The network's tensors of a finished fold. Raises ModelError."""
    return read_tensors(fold_folder(folder, number) / "checkpoints" / "best" / "model.safetensors")


def finished_fusion(folder: Path) -> Job:
    """The job. Raises InputError: no job, one of another kind, one that is not finished."""
    job = Job(folder)
    settings: Mapping[str, Any] = job.settings
    if settings.get("kind") != "fuse":
        raise InputError(f"{folder} is a job of the kind '{settings.get('kind')}'. This takes a fusion.", "job-kind")
    if job.status != "finished":
        raise InputError(f"The fusion {folder} is {job.status}, not finished. Repeat its command.", "unfinished")
    return job
