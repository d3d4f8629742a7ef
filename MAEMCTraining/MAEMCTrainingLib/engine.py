"""The one training loop: pre-training and fine-tuning are tasks that it is given.

A task says what one step is; the loop decides when, at which rate, what is written down and how a run that was ended
in any way goes on. A step's numbers depend on the seed, the epoch and the sample only, so a run that was killed and
continued has, on the CPU with the same number of threads, the bits of one that was not.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from MAEMCLib.errors import InputError
from torch import Tensor, nn

from . import checkpoints
from .checkpoints import Position
from .configuration import Optimization, to_json
from .draws import generator
from .jobs import Interrupted, Job, StopRequest
from .optimization import NamedParameter, build_optimizer, learning_rate, set_learning_rate


class Batch(Protocol):
    """What a task's step takes."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device | str) -> Batch: ...


class Task(Protocol):
    """What is trained. ``module.state_dict()`` is everything that has to survive besides the optimizer."""

    phase: str  # of its events: "pretrain", "finetune"
    module: nn.Module
    steps_per_epoch: int
    images_per_sample: int

    def parameters(self) -> list[NamedParameter]: ...

    def batch(self, epoch: int, index: int) -> tuple[Batch, dict[str, float]]:
        """A batch, and figures on it for the events. Called from another thread, ahead of time: no state may matter."""
        ...

    def names(self, epoch: int, index: int) -> list[str]:
        """The case_ids in a batch, for messages."""
        ...

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """ "loss" with its gradient, and other figures for the events."""
        ...

    def validate(self, device: torch.device) -> float | None:
        """The validation loss that early stopping goes by; None without a validation."""
        ...


class Run(Protocol):
    """The settings that the loop reads; both configurations have them."""

    epochs: int
    seed: int
    log_every: int
    checkpoint_seconds: float
    optimization: Optimization


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its position and the weights of the best epoch (None without a validation)."""

    position: Position
    best: dict[str, Tensor] | None


def train(
    task: Task,
    run: Run,
    job: Job,
    folder: Path,
    fingerprint: str,
    device: torch.device,
    stop: StopRequest,
    patience: int | None = None,
    label: str = "",
    **where: Any,
) -> Outcome:
    """Train to the end, or continue what ``folder`` holds.

    fingerprint: of the data, compared with that of the checkpoint. patience: epochs without a lower validation loss
    before the run ends. label and where: shown in the progress line and added to every event (the fold).

    Raises Interrupted after a stop request, with everything saved; InputError: a loss that is not finite (the last
    checkpoint is kept), a checkpoint of another run, a full disk.
    """
    identity = {"configuration": to_json(run), "data": fingerprint}
    module = task.module.to(device)
    module.train()
    optimizer = build_optimizer(task.parameters(), run.optimization)
    position, best = checkpoints.restore(folder, module, optimizer, identity)
    steps = run.epochs * task.steps_per_epoch
    if position.step and not position.ended and position.step < steps:
        job.log(f"{label}Continuing at step {position.step} of {steps}.")
    job.forget_events(position.step, **where)
    trained_from = position.step
    progress = _Progress(job, label, position.step, steps)

    def save() -> None:
        checkpoints.save(folder, module, optimizer, position, best, identity)
        progress.saved = time.monotonic()

    batches = _ahead(task, position.step, steps)
    while position.step < steps and not position.ended:
        epoch, index = divmod(position.step, task.steps_per_epoch)
        rate = learning_rate(run.optimization, position.step, steps, task.steps_per_epoch)
        batch, figures = next(batches)
        figures |= _step(task, run, optimizer, rate, batch.to(device), position.step)
        _check_finite(figures, task, epoch, index, position.step)
        optimizer.step()
        position.step += 1
        progress.count(len(batch) * task.images_per_sample)
        epoch_done = index + 1 == task.steps_per_epoch
        logged = position.step % run.log_every == 0 or epoch_done or position.step == 1
        if logged:
            speed = {"learning_rate": rate, "images_per_second": round(progress.images_per_second(), 2)}
            job.event(step=position.step, epoch=epoch, phase=task.phase, **where, **figures, **speed)
        if epoch_done and (loss := task.validate(device)) is not None:
            module.train()
            _check_finite({"validation loss": loss}, task, epoch, index, position.step - 1)
            better = position.best_loss is None or loss < position.best_loss
            if better:
                position.best_loss, position.best_epoch, position.stale = loss, epoch, 0
                best = {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
            else:
                position.stale += 1
            position.ended = patience is not None and position.stale >= patience
            job.event(step=position.step, epoch=epoch, phase="validation", **where, loss=loss, better=better)
        progress.show(job, run, position, epoch, figures["loss"], rate, where, force=epoch_done)
        if stop.asked:
            save()
            raise Interrupted(f"{label}Stopped at step {position.step} of {steps}, saved. Repeat the command to go on.")
        if time.monotonic() - progress.saved > run.checkpoint_seconds:
            save()
    if position.step > trained_from:
        save()
    if best is not None:  # again, should the run have been killed between the two
        checkpoints.save_best(folder, best, position, identity)
    progress.end()
    return Outcome(position, best)


def _ahead(task: Task, step: int, steps: int) -> Iterator[tuple[Batch, dict[str, float]]]:
    """The batches from a step on, each made in another thread while the one before it is trained on."""
    with ThreadPoolExecutor(1, "batches") as pool:
        coming = pool.submit(task.batch, *divmod(step, task.steps_per_epoch))
        for following in range(step + 1, steps + 1):
            ready = coming.result()
            if following < steps:
                coming = pool.submit(task.batch, *divmod(following, task.steps_per_epoch))
            yield ready


def _step(
    task: Task, run: Run, optimizer: torch.optim.Optimizer, rate: float, batch: Batch, step: int
) -> dict[str, float]:
    """Forward and backward; the figures for the events."""
    # Dropout and whatever else draws inside torch: keyed like all other draws, so that no random state is to be kept.
    torch.manual_seed(int(generator(run.seed, "torch", 0, step).integers(2**62)))
    set_learning_rate(optimizer, rate)
    losses = task.step(batch)
    optimizer.zero_grad(set_to_none=True)
    losses["loss"].backward()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    norm = nn.utils.clip_grad_norm_(parameters, run.optimization.gradient_clip)
    return {name: value.detach().item() for name, value in losses.items()} | {"gradient_norm": norm.item()}


def _check_finite(figures: dict[str, float], task: Task, epoch: int, index: int, step: int) -> None:
    broken = [name for name, value in figures.items() if not math.isfinite(value)]
    if broken:
        names = task.names(epoch, index)
        raise InputError(
            f"Training diverged: {', '.join(broken)} not finite at step {step + 1}, epoch {epoch + 1} (cases "
            f"{', '.join(names[:8])}{' ...' if len(names) > 8 else ''}). The last checkpoint before it is kept. "
            "Use a lower learning_rate, and check these cases' images.",
            "not-finite",
        )


class _Progress:
    """The progress line, the state file and the throughput."""

    def __init__(self, job: Job, label: str, step: int, steps: int) -> None:
        self.label, self.first, self.steps = label, step, steps
        self.started = self.saved = time.monotonic()
        self.shown = -math.inf
        self.written = -math.inf
        self.images = 0
        self.live = not job.quiet and sys.stderr.isatty()
        self.quiet = job.quiet

    def count(self, images: int) -> None:
        self.images += images

    def images_per_second(self) -> float:
        return self.images / max(time.monotonic() - self.started, 1e-9)

    def show(
        self,
        job: Job,
        run: Run,
        position: Position,
        epoch: int,
        loss: float,
        rate: float,
        where: dict[str, Any],
        force: bool,
    ) -> None:
        now = time.monotonic()
        if now - self.written > 1 or position.step == self.steps:
            self.written = now
            job.update(step=position.step, steps=self.steps, epoch=epoch, epochs=run.epochs, **where)
        # A terminal gets a line that renews itself, a log file a line every quarter of a minute.
        last = force and position.step == self.steps
        if self.quiet or (now - self.shown < (0.5 if self.live else 15) and not last):
            return
        self.shown = now
        left = (now - self.started) / max(1, position.step - self.first) * (self.steps - position.step)
        line = (
            f"{self.label}epoch {epoch + 1}/{run.epochs}  step {position.step}/{self.steps}  loss {loss:.4f}  "
            f"rate {rate:.2e}  {self.images_per_second():.0f} images/s  {_duration(left)} left"
        )
        print(f"\r\x1b[K{line}" if self.live else line, end="" if self.live else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.live and math.isfinite(self.shown):
            print(file=sys.stderr)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
