"""A small convolutional network as a rival in experiments: what a few convolutions learn from the same montages."""

from dataclasses import asdict, replace

import numpy as np
import torch
from MAEMCLib.files.atomic import write_json
from MAEMCLib.inputs.region import SIDE
from MAEMCLib.networks.classifier import Logits
from torch import Tensor, nn

from ..classifiers.cases import LabeledCohort, division_of
from ..classifiers.fold_model import fold_folder
from ..classifiers.presets import FinetuningConfiguration
from ..classifiers.task import ClassifierTask
from ..data.cases import TRAIN
from ..data.cohort import measure_preprocessing
from ..engine.configuration import Optimization, to_json
from ..engine.loop import train
from ..engine.session import Session
from ..statistics.metrics import evaluate

SMALL_CNN = "small-cnn"
"""Folder of this network's job, and its name for --only."""


class SmallCNN(nn.Module):
    """Four convolutions shared by all 25 slices of a montage, pooled over place and slice; 25,000 weights."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers: list[nn.Module] = []
            for channels, filters, kernel, stride in ((1, 16, 5, 2), (16, 24, 3, 2), (24, 32, 3, 1), (32, 48, 3, 2)):
                layers.append(nn.Conv2d(channels, filters, kernel, stride, kernel // 2, bias=False))
                layers += [nn.BatchNorm2d(filters), nn.ReLU()]
            self.features = nn.Sequential(*layers)
            self.head = nn.Linear(96, 2)

    RELATES = False

    def forward(self, images: Tensor, seen: Tensor, values: Tensor, given: Tensor) -> Logits:
        """Montages (B, 1, 1, 250, 250), as a classifier with one branch."""
        logits = self.logits(images[:, 0])
        return Logits(logits, logits[:, None], seen)

    def logits(self, images: Tensor) -> Tensor:
        """Montages (B, 1, 250, 250) -> logits (B, 2)."""
        return self.of_slices(images.unfold(2, SIDE, SIDE).unfold(3, SIDE, SIDE).reshape(len(images), -1, SIDE, SIDE))

    def of_slices(self, slices: Tensor) -> Tensor:
        """Slices (B, n, 50, 50) of any number n -> logits (B, 2)."""
        maps = self.features(slices.reshape(-1, 1, SIDE, SIDE))
        pooled = torch.cat([maps.amax((2, 3)), maps.mean((2, 3))], dim=1)
        return self.head(pooled.reshape(len(slices), -1, 96).mean(dim=1))


class SmallCNNTask(ClassifierTask):
    """One fold, with the small network in the place of the classifier."""

    def network(self) -> SmallCNN:
        """The small network."""
        return SmallCNN(self.seed)


def small_cnn_run(run: FinetuningConfiguration) -> FinetuningConfiguration:
    """The folds, planes and augmentation of a fine-tuning, with what a small network from scratch needs."""
    return replace(
        run,
        epochs=30,
        patience=30,
        batch=16,
        optimization=Optimization(learning_rate=3e-3, warmup_fraction=0.3, weight_decay=0.01),
    )


def train_small_cnn(cohort: LabeledCohort, run: FinetuningConfiguration, session: Session) -> np.ndarray:
    """Train the network in an opened job, or continue it; write metrics.json with its out-of-fold AUC.

    Returns the (cases,) out-of-fold probabilities, which hold where a fold tests the case.
    """
    job, division = session.job, division_of(cohort, run)
    run = replace(run, folds=len(division.folds))
    preprocessing = measure_preprocessing(cohort.main.of_parts(TRAIN), run.augmentation, run.encoder.image_size)
    job.declare({"configuration": to_json(run), "data_fingerprint": cohort.fingerprint, "cohort": cohort.facts()})
    job.update(folds=run.folds, parts=run.folds)
    probabilities, tested_by = np.zeros(len(cohort)), np.zeros(len(cohort), dtype=int)
    for fold in division.folds:
        job.update(stage=f"Small network of fold {fold.number + 1} of {run.folds}", part=fold.number)
        task = SmallCNNTask(cohort, fold, run, preprocessing, None)
        place = fold_folder(job.folder, fold.number) / "checkpoints"
        outcome = train(task, run, session, place, cohort.fingerprint, patience=run.patience, fold=fold.number)
        task.module.load_state_dict(outcome.best)
        probabilities[fold.test] = task.outputs(fold.test, session.device).fused.softmax(dim=1)[:, 1].numpy()
        tested_by[fold.test] = fold.number
    tested = division.evaluated
    metrics = evaluate(cohort.labels[tested], probabilities[tested], cohort.patients[tested], folds=tested_by[tested])
    write_json(job.folder / "metrics.json", {name: asdict(metrics[name]) for name in ("auc", "auc_within_folds")})
    return probabilities
