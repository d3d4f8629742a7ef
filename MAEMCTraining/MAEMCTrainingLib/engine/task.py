"""What the training loop is given, a task whose batches and losses are its own, and one optimizer step of it: a batch
in micro-batches, over processes and over time, at a chosen precision.

A batch is divided among the processes, and each one's part into ``accumulation`` micro-batches that pass through
the network one after another. Each sample counts the same however the batch is divided. The number of processes changes
nothing of what is learned but for rounding, and MoCo's keys. Neither does the number of micro-batches, but for batch
normalization, whose statistics are those of a micro-batch (``batch_norm``).
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from MAEMCLib.errors import InputError
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .batch_norm import batch_norms, set_momenta, synchronize
from .configuration import Run
from .optimization import NamedParameter
from .processes import Processes
from .rng import generator


class Sample(NamedTuple):
    """One of the samples of an epoch; both decide how it is varied."""

    epoch: int
    number: int


class Batch(Protocol):
    """What a task's step takes."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device | str) -> Batch: ...


class Task(ABC):
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

    @abstractmethod
    def batch(self, samples: Sequence[Sample]) -> tuple[Batch, dict[str, float]]:
        """A batch, and figures on it for the events. Called from another thread, ahead of time: no state may matter."""

    @abstractmethod
    def names(self, samples: Sequence[Sample]) -> list[str]:
        """The case_ids in a batch, for messages."""

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


MicroBatches = list[tuple[Batch, dict[str, float]]]


def precision_on(precision: str, device: torch.device) -> torch.dtype:
    """The number format of the forward pass. ``auto``: bfloat16 on a GPU that has it, float16 on others, float32 on a
    processor (where bfloat16 is faster only with the right instructions).
    """
    if precision != "auto":
        return getattr(torch, precision)
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


class Stepper:
    """A task's module and optimizer, moved one step at a time."""

    def __init__(
        self, task: Task, run: Run, optimizer: torch.optim.Optimizer, device: torch.device, processes: Processes
    ) -> None:
        self.task, self.run, self.optimizer = task, run, optimizer
        self.device, self.processes = device, processes
        self.accumulation = run.accumulation
        self.dtype = precision_on(run.precision, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        self.model: nn.Module = task.module
        if processes.several or device.type == "cpu":  # a GPU that is alone has a faster layer, and its own rounding
            synchronize(task.module)
        if processes.several:
            self.model = DistributedDataParallel(task.module, broadcast_buffers=False)
        self.momenta = {layer: layer.momentum for layer in batch_norms(task.module)}
        self.parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def micro_batches(self, samples: Sequence[Sample]) -> MicroBatches:
        """This process's part of the samples, divided. Called from another thread, ahead of time."""
        mine = np.array_split(np.asarray(samples), self.processes.count)[self.processes.rank]
        parts = np.array_split(mine, self._number_of_micro_batches(len(samples)))
        return [self.task.batch(part.tolist()) for part in parts]

    def _number_of_micro_batches(self, samples: int) -> int:
        """The same in all processes, which pass them together: no more than the smallest part has samples."""
        return min(self.accumulation, samples // self.processes.count)

    def step(self, samples: Sequence[Sample], parts: MicroBatches, number: int) -> dict[str, float]:
        """Train on the samples, whose micro-batches are given; the figures of the whole batch. number: of the step.

        The weights move only where all figures are finite: the caller looks at them. Raises torch.OutOfMemoryError
        with nothing changed but the momentum encoder's own step. Of parameters that the task names as ``unmoved`` the
        gradient is dropped, so that the optimizer has not seen them yet when they begin to move.
        """
        # Dropout and whatever else draws inside torch: keyed like all other draws, so that no random state is kept.
        torch.manual_seed(int(generator(self.run.seed, "torch", 0, number).integers(2**62)))
        self.task.before_step()
        if len(parts) < self._number_of_micro_batches(len(samples)):  # made before the memory proved too small
            parts = self.micro_batches(samples)
        statistics = [buffer for layer in self.momenta for buffer in layer.buffers()]
        before = [buffer.clone() for buffer in statistics]
        try:
            totals, kept = self._forward_and_backward(parts, len(samples))
        except torch.OutOfMemoryError:
            # Half as many samples at a time, once; the batch that the optimizer sees stays the same.
            halved = self.accumulation > self.run.accumulation or not self.task.divisible
            if halved or self.processes.several or self.accumulation >= len(samples):
                raise
            self.accumulation *= 2
            self.optimizer.zero_grad(set_to_none=True)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            for buffer, value in zip(statistics, before, strict=True):
                buffer.copy_(value)  # or what has passed would be counted twice
            totals, kept = self._forward_and_backward(self.micro_batches(samples), len(samples))
        for parameter in self.task.unmoved():
            parameter.grad = None
        # The figures of all processes, read back from the device in one go.
        values = self.processes.total(torch.stack([value.to(self.device) for value in totals.values()]))
        figures = dict(zip(totals, values.tolist(), strict=True))
        self.scaler.unscale_(self.optimizer)
        norm = clip_gradients(self.parameters, self.run.optimization.gradient_clip)
        if np.isfinite(norm) or not self.scaler.is_enabled():
            figures["gradient_norm"] = norm
        if np.isfinite(list(figures.values())).all():
            self.scaler.step(self.optimizer)  # leaves a step out whose float16 gradients overflowed, and scales down
            self.scaler.update()
            self.task.after_step(kept)
        return figures

    def _forward_and_backward(self, parts: MicroBatches, samples: int) -> tuple[dict[str, Tensor], list[Any]]:
        """Gradients of the mean over all samples; the figures, weighted by samples, and what the method keeps."""
        self.optimizer.zero_grad(set_to_none=True)
        totals: dict[str, Tensor] = {}
        kept = []
        for number, (batch, facts) in enumerate(parts):
            last = number + 1 == len(parts)
            set_momenta(self.momenta, number, len(parts))
            weight = len(batch) / samples
            together = contextlib.nullcontext() if last or not self.processes.several else self.model.no_sync()
            with together:
                with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                    losses, keep = self.task.step(self.model, batch.to(self.device))
                # DistributedDataParallel takes the mean over processes: their number cancels.
                self.scaler.scale(losses["loss"] * (weight * self.processes.count)).backward()
            kept.append(keep)
            for name, value in (losses | facts).items():
                value = torch.as_tensor(value, dtype=torch.float64 if self.device.type != "mps" else torch.float32)
                totals[name] = totals.get(name, 0.0) + value.detach() * weight
        return totals, kept


def clip_gradients(parameters: Sequence[nn.Parameter], largest: float) -> float:
    """Scale the gradients down to an l2 norm of ``largest`` where theirs is larger; returns what it was.

    As torch's clip_grad_norm_, but gradients that are small enough are only read: of a ViT-L they are 1.3 GB.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.stack(torch._foreach_norm(gradients)).norm().item()
    if norm > largest:
        torch._foreach_mul_(gradients, largest / (norm + 1e-6))
    return norm


def device_failure(error: RuntimeError, device: torch.device) -> InputError | None:
    """A message for an accelerator that ran out of memory or went away; None for other errors."""
    if isinstance(error, torch.OutOfMemoryError):
        return InputError(
            f"The memory of {device} is too small even for half of the batch. The last checkpoint is kept. Use a "
            "smaller batch, a larger accumulation (the same batch in more micro-batches), or --device cpu.",
            "out-of-memory",
        )
    if device.type == "cpu":
        return None
    return InputError(
        f"{device} stopped working ({str(error).splitlines()[0]}). The last checkpoint is kept: look whether the GPU "
        "is there (maemc device), then repeat the command, or go on with --device cpu.",
        "device-lost",
    )
