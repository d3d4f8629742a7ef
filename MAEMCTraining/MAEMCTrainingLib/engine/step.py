"""One optimizer step: a batch in shares, over processes and over time, at a chosen precision.

A batch is divided among the processes, and each one's part into ``accumulation`` shares that pass through the network
one after another. Each sample counts the same however it is divided. The number of processes changes nothing of what is
learned but for rounding, and MoCo's keys. Neither does the number of shares, but for batch normalization, whose
statistics are those of a share (``batch_norm``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from MAEMCLib.errors import InputError
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .batch_norm import RunningStatistics, synchronize
from .optimization import set_learning_rate
from .processes import Processes
from .rng import generator

if TYPE_CHECKING:
    from .task import Batch, Run, Task

_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

Shares = list[tuple["Batch", dict[str, float]]]


def precision_on(asked: str, device: torch.device) -> torch.dtype:
    """The number format of the forward pass. ``auto``: bfloat16 on a GPU that has it, float16 on others, float32 on a
    processor (where bfloat16 is faster only with the right instructions).
    """
    if asked != "auto":
        return _TYPES[asked]
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
        self.running = RunningStatistics(task.module)
        self.parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def shares(self, samples: Sequence[int] | np.ndarray) -> Shares:
        """The batches of this process's part of the samples. Called from another thread, ahead of time."""
        mine = np.array_split(np.asarray(samples), self.processes.count)[self.processes.rank]
        return [self.task.batch(part) for part in np.array_split(mine, self._number_of_shares(len(samples)))]

    def _number_of_shares(self, samples: int) -> int:
        """The same in all processes, which pass their shares together: no more than the smallest part has samples."""
        return min(self.accumulation, samples // self.processes.count)

    def step(
        self, samples: Sequence[int] | np.ndarray, shares: Shares, rate: float, epoch: int, number: int
    ) -> dict[str, float]:
        """Train on the samples, whose shares are given; the figures of the whole batch. number: of the step.

        The weights move only where all figures are finite: the caller looks at them. Raises torch.OutOfMemoryError
        with nothing changed but the momentum encoder's own step. Of parameters that the task names as ``unmoved`` the
        gradient is dropped, so that the optimizer has not seen them yet when they begin to move.
        """
        # Dropout and whatever else draws inside torch: keyed like all other draws, so that no random state is kept.
        torch.manual_seed(int(generator(self.run.seed, "torch", 0, number).integers(2**62)))
        set_learning_rate(self.optimizer, rate, epoch)
        self.task.before_step()
        if len(shares) < self._number_of_shares(len(samples)):  # made ahead, before the memory was found too small
            shares = self.shares(samples)
        self.running.remember()
        try:
            totals, kept = self._forward_and_backward(shares, len(samples))
        except torch.OutOfMemoryError:
            # Half as many samples at a time, once; the batch that the optimizer sees stays the same.
            halved = self.accumulation > self.run.accumulation or not self.task.divisible
            if halved or self.processes.several or self.accumulation >= len(samples):
                raise
            self.accumulation *= 2
            self._forget_gradients()
            self.running.restore()
            totals, kept = self._forward_and_backward(self.shares(samples), len(samples))
        for parameter in self.task.unmoved():
            parameter.grad = None
        figures = self._figures(totals)
        self.scaler.unscale_(self.optimizer)
        norm = clip_gradients(self.parameters, self.run.optimization.gradient_clip)
        if np.isfinite(norm) or not self.scaler.is_enabled():
            figures["gradient_norm"] = norm
        if np.isfinite(list(figures.values())).all():
            self.scaler.step(self.optimizer)  # leaves a step out whose float16 gradients overflowed, and scales down
            self.scaler.update()
            self.task.after_step(kept)
        return figures

    def _forward_and_backward(self, shares: Shares, samples: int) -> tuple[dict[str, Tensor], list[Any]]:
        """Gradients of the mean over all samples; the share-weighted figures and what the method keeps."""
        self.optimizer.zero_grad(set_to_none=True)
        totals: dict[str, Tensor] = {}
        kept = []
        for number, (batch, facts) in enumerate(shares):
            last = number + 1 == len(shares)
            self.running.share(number, len(shares))
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

    def _figures(self, totals: dict[str, Tensor]) -> dict[str, float]:
        """The figures of all processes, read back from the device in one go."""
        values = torch.stack([value.to(self.device) for value in totals.values()])
        return dict(zip(totals, self.processes.total(values).tolist(), strict=True))

    def _forget_gradients(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


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
            "smaller batch, a larger accumulation (the same batch in more shares), or --device cpu.",
            "out-of-memory",
        )
    if device.type == "cpu":
        return None
    return InputError(
        f"{device} stopped working ({str(error).splitlines()[0]}). The last checkpoint is kept: look whether the GPU "
        "is there (maemc device), then repeat the command, or go on with --device cpu.",
        "device-lost",
    )
