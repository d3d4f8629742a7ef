"""What the training loop is given: a task, whose batches and steps are its own, and the settings of the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from .optimization import NamedParameter
from .rng import generator


class Sample(NamedTuple):
    """One of the samples of an epoch; both decide how it is varied."""

    epoch: int
    number: int


class Batch(Protocol):
    """What a task's step takes."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device | str) -> Batch: ...


class Task:
    """What is trained. ``module.state_dict()`` is everything that has to survive besides the optimizer."""

    phase: str  # of its events: "pretrain", "finetune"
    module: nn.Module
    seed: int
    samples: int  # an epoch's
    images_per_sample: int
    divisible: bool  # whether a batch may pass in micro-batches: not where a loss compares its samples

    def parameters(self) -> list[NamedParameter]:
        """What the optimizer trains; momentum copies, without gradient, are not among it."""
        return [NamedParameter(name, value) for name, value in self.module.named_parameters() if value.requires_grad]

    def order(self, epoch: int) -> np.ndarray:
        """The epoch's permutation of the samples, each an integer that says with the epoch what it shows."""
        return generator(self.seed, "order", epoch).permutation(self.samples)

    def batch(self, samples: Sequence[Sample]) -> tuple[Batch, dict[str, float]]:
        """A batch, and figures on it for the events. Called from another thread, ahead of time: no state may matter."""
        raise NotImplementedError

    def names(self, samples: Sequence[Sample]) -> list[str]:
        """The case_ids in a batch, for messages."""
        raise NotImplementedError

    def unmoved(self) -> Iterable[nn.Parameter]:
        """Parameters that do not move in the step that was just computed, whatever their gradient."""
        return ()

    def before_step(self) -> None:
        """What happens once before a batch's micro-batches pass (the momentum encoder's step)."""

    def step(self, model: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Any]:
        """The mean losses of one micro-batch, "loss" with its gradient, and what ``after_step`` is to get of it.

        model: the task's module, or the same wrapped for several processes; to be called.
        """
        return model(batch)

    def after_step(self, kept: list[Any]) -> None:
        """What happens once after a batch, with what ``step`` returned of each micro-batch (the queue's new keys)."""

    def epoch_done(self, epoch: int, device: torch.device) -> None:
        """Called in the leading process after every epoch (previews)."""

    def validate(self, device: torch.device) -> dict[str, float] | None:
        """Figures of the validation, of which "loss" decides on early stopping; None without a validation."""
        return None
