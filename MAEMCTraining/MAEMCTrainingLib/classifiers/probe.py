"""A linear probe: the head's one layer fitted at once on the features of an encoder that stays as it is."""

from __future__ import annotations

import numpy as np
import torch

from ..statistics.logistic import FEATURE_PENALTY, fit_classes
from .task import ClassifierTask


def fit_probe(task: ClassifierTask, device: torch.device) -> None:
    """Set a fold's linear layer by logistic regression on the features of its training part.

    All branches of a case are separate samples, as in fine-tuning; no augmentation.
    """
    train, branches = task.fold.train, list(task.branches)
    values = task.features(train, device)[:, branches]
    labels = np.repeat(task.cohort.labels[train], len(branches))
    weights, biases = fit_classes(values.flatten(0, 1).numpy(), labels, FEATURE_PENALTY)
    head = task.module.cpu().head
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weights))
        head.bias.copy_(torch.from_numpy(biases))
