"""The one training loop: pre-training and fine-tuning are tasks that it is given.

A task says what one step is; the loop decides when, at which rate, what is written down and how a run that was ended
in any way goes on. A step's numbers depend on the seed, the epoch and the sample only, so a run that was killed and
continued has, on the CPU with the same number of threads, the bits of one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.errors import InputError, UsageError
from torch import Tensor

from ..jobs.progress import Progress, peak_memory_mb
from ..jobs.stopping import Interrupted
from . import checkpoints
from .checkpoints import Position
from .configuration import to_json
from .optimization import build_optimizer, learning_rate
from .session import Session
from .step import Shares, Stepper, device_failure
from .task import EPOCH_SHIFT, Run, Task


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its position and the weights of the best epoch (None without a validation)."""

    position: Position
    best: dict[str, Tensor] | None


def steps_in_epoch(samples: int, batch: int) -> int:
    """How many batches an epoch has."""
    return -(-samples // batch)


def samples_of_step(task: Task, batch: int, step: int) -> np.ndarray:
    """The samples of one step, coded with their epoch.

    An epoch is divided evenly instead of into full batches and a rest: a last batch of one or two cases would weigh as
    much as any other, and might be smaller than the number of processes.
    """
    epoch, index = divmod(step, steps_in_epoch(task.samples, batch))
    part = np.array_split(task.order(epoch), steps_in_epoch(task.samples, batch))[index]
    return part.astype(np.int64) | (epoch << EPOCH_SHIFT)


def train(
    task: Task,
    run: Run,
    session: Session,
    folder: Path,
    fingerprint: str,
    patience: int | None = None,
    window: int = 1,
    **where: Any,
) -> Outcome:
    """Train to the end, or continue what ``folder`` holds.

    fingerprint: of the data, compared with that of the checkpoint. window: epochs, up to the present one, whose mean
    validation loss decides. patience: epochs without a lower one before the run ends. where: added to every event (the
    fold).

    Raises Interrupted after a stop request, with everything saved; InputError: a loss that is not finite (the last
    checkpoint is kept), a checkpoint of another run, a full disk, a device that fails; UsageError: more processes than
    samples in a batch.
    """
    stopping = EarlyStopping(patience, window)
    loop = _Loop(task, run, session, folder, {"configuration": to_json(run), "data": fingerprint}, where)
    while not loop.ended:
        loop.step()
        loop.log()
        if loop.epoch_done:
            loop.validate(stopping)
        loop.show()
        if session.processes.any(session.stop.asked, session.device):
            loop.save()
            at = f"step {loop.position.step} of {loop.steps}"
            raise Interrupted(f"Stopped at {at}, saved. Repeat the command to go on.")
        if loop.save_due:
            loop.save()
    return loop.finish()


@dataclass(frozen=True)
class EarlyStopping:
    """When a validation's loss ends a run.

    patience: epochs without a lower loss before it ends; None: never. window: epochs, up to the present one, whose mean
    loss counts.
    """

    patience: int | None = None
    window: int = 1

    def judge(self, position: Position, loss: float, epoch: int) -> bool:
        """Enter an epoch's loss into the position; whether it is the best so far."""
        position.recent = [*position.recent, loss][-self.window :]
        smoothed = sum(position.recent) / len(position.recent)
        better = position.best_loss is None or smoothed < position.best_loss
        if better:
            position.best_loss, position.best_epoch, position.stale = smoothed, epoch, 0
        else:
            position.stale += 1
        position.ended = self.patience is not None and position.stale >= self.patience
        return better


class _Loop:
    """One run: where it stands, and the phases of its steps."""

    def __init__(
        self,
        task: Task,
        run: Run,
        session: Session,
        folder: Path,
        identity: dict[str, Any],
        where: dict[str, Any],
    ) -> None:
        """Restores what ``folder`` holds. Raises UsageError for more processes than samples in a batch."""
        self.task, self.run, self.folder, self.identity = task, run, folder, identity
        self.job, self.device, self.processes = job, device, processes = session.job, session.device, session.processes
        self.module = task.module.to(device)
        self.module.train()
        self.optimizer = build_optimizer(task.parameters(), run.optimization, device)
        self.position, self.best = checkpoints.restore(folder, self.module, self.optimizer, identity)
        self.stepper = Stepper(task, run, self.optimizer, device, processes)
        if self.position.scaler:
            self.stepper.scaler.load_state_dict(self.position.scaler)
        self.stepper.accumulation = max(self.stepper.accumulation, self.position.accumulation)
        self.per_epoch = steps_in_epoch(task.samples, run.batch)
        samples = task.samples // self.per_epoch
        if samples < processes.count:
            raise UsageError(
                f"A batch has {samples} samples for {processes.count} processes. Choose a larger batch or fewer "
                "processes.",
                "too-many-processes",
            )
        self.steps = run.epochs * self.per_epoch
        done = self.trained_from = self.position.step
        checkpoints.check_step(folder, self.position, self.steps)
        if done < self.steps:
            if done and not self.position.ended:
                job.log(f"Continuing at step {done} of {self.steps}.")
            job.forget_events(done, (task.phase, "validation"), **where)
        self.where = {"phase": task.phase, **where}
        self.progress = Progress(job, run.epochs, done, self.steps, self.where)
        self.batches = _ahead(task, run.batch, self.stepper, done, self.steps)

    @property
    def ended(self) -> bool:
        """Whether all steps are done, or the validation said enough."""
        return self.position.step >= self.steps or self.position.ended

    def step(self) -> None:
        """Train on the next batch. Raises InputError for a loss that is not finite or a device that fails."""
        step = self.position.step
        self.epoch, index = divmod(step, self.per_epoch)
        self.epoch_done = index + 1 == self.per_epoch
        self.rate = learning_rate(self.run.optimization, step, self.steps, self.per_epoch)
        self.samples, shares = next(self.batches)
        try:
            self.figures = self.stepper.step(self.samples, shares, self.rate, self.epoch, step)
        except RuntimeError as error:
            if failure := device_failure(error, self.device):
                raise failure from error
            raise
        self._check_finite(self.figures)
        self._tell_of_small_memory()
        self.position.step += 1
        self.progress.images += len(self.samples) * self.task.images_per_sample

    def log(self) -> None:
        """Write the step's figures down, where they are due."""
        step = self.position.step
        if step % self.run.log_every == 0 or self.epoch_done or step == 1:
            speed = {
                "learning_rate": self.rate,
                "images_per_second": round(self.progress.images_per_second(), 2),
            }
            memory = peak_memory_mb(self.device)
            figures = self.figures | speed | ({"memory_mb": memory} if memory else {})
            self.progress.event(step, self.epoch, figures)

    def validate(self, stopping: EarlyStopping) -> None:
        """What follows an epoch: validation, where the task has one, the best weights, a preview."""
        verdict = self.processes.of_leader(self.task.validate(self.device))  # one for all, whatever their rounding
        self.module.train()
        if verdict is not None:
            self._check_finite({"validation loss": verdict["loss"]}, before=1)
            better = stopping.judge(self.position, verdict["loss"], self.epoch)
            if better:
                self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.module.state_dict().items()}
            validation = {**self.where, "phase": "validation", **verdict, "better": better}
            self.job.event(step=self.position.step, epoch=self.epoch, **validation)
        if self.processes.leads:
            self.task.epoch_done(self.epoch, self.device)

    def show(self) -> None:
        """Renew the line on the terminal and the job's state."""
        self.progress.show(self.position, self.epoch, self.figures["loss"], self.rate)

    @property
    def save_due(self) -> bool:
        """Whether the last checkpoint is old enough for another."""
        return time.monotonic() - self.progress.saved > self.run.checkpoint_seconds

    def save(self) -> None:
        """Write a checkpoint."""
        if self.processes.leads:
            self.position.scaler = self.stepper.scaler.state_dict()
            checkpoints.save(self.folder, self.module, self.optimizer, self.position, self.best, self.identity)
        self.progress.saved = time.monotonic()

    def finish(self) -> Outcome:
        """Save what was trained since, and the best weights for other programs."""
        if self.position.step > self.trained_from:
            self.save()
        if self.best is not None and self.processes.leads:  # again, should the run have been killed between the two
            checkpoints.save_best(self.folder, self.best, self.position, self.identity)
        self.progress.end()
        return Outcome(self.position, self.best)

    def _tell_of_small_memory(self) -> None:
        """Keep and say that the stepper had to divide a batch further."""
        accumulation = self.stepper.accumulation
        if accumulation <= max(self.run.accumulation, self.position.accumulation):
            return
        self.position.accumulation = accumulation
        result = "slower and with the same result"
        if self.stepper.running.layers:
            result = (
                "slower, and its batch normalization has the statistics of a share instead of the batch: what is "
                "learned differs from a run on a larger memory"
            )
        self.job.log(
            f"The memory of {self.device} is too small for a batch of {self.run.batch}: from here on it passes in "
            f"{accumulation} shares, {result}."
        )

    def _check_finite(self, figures: dict[str, float], before: int = 0) -> None:
        """before: steps between the one to be named and the position."""
        broken = [name for name, value in figures.items() if not math.isfinite(value)]
        if broken:
            names = self.task.names(self.samples)
            raise InputError(
                f"Training diverged: {', '.join(broken)} not finite at step {self.position.step - before + 1}, epoch "
                f"{self.epoch + 1} (cases {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}). The last "
                "checkpoint before it is kept. Use a lower learning_rate, and check these cases' images.",
                "not-finite",
            )


def _ahead(task: Task, batch: int, stepper: Stepper, step: int, steps: int) -> Iterator[tuple[np.ndarray, Shares]]:
    """The batches from a step on, each made in another thread while the ones before it are trained on."""
    # A processor that also computes has one thread to spare; a GPU is fast enough to wait for one.
    threads = 1 if stepper.device.type == "cpu" else 4

    def make(number: int) -> tuple[np.ndarray, Shares]:
        samples = samples_of_step(task, batch, number)
        return samples, stepper.shares(samples)

    with ThreadPoolExecutor(threads, "batches") as pool:
        coming = [pool.submit(make, number) for number in range(step, min(step + threads, steps))]
        for following in range(step + threads, steps + threads):
            ready = coming.pop(0).result()
            if following < steps:
                coming.append(pool.submit(make, following))
            yield ready
