"""The one training loop: pre-training and fine-tuning are tasks that it is given.

A task says what one step is; the loop decides when, at which rate, what is written down and how a run that was ended
in any way goes on. A step's numbers depend on the seed, the epoch and the sample only, so a run that was killed and
continued has, on the CPU with the same number of threads, the bits of one that was not.
"""

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

from ..jobs.progress import Progress
from ..jobs.stopping import Interrupted
from .checkpoints import Checkpoints, Position
from .configuration import Run, to_json
from .optimization import build_optimizer, learning_rate, set_learning_rate
from .session import Session
from .task import MicroBatches, Sample, Stepper, Task, device_failure


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its position and the weights of the best epoch (None without a validation)."""

    position: Position
    best: dict[str, Tensor] | None


def steps_in_epoch(samples: int, batch: int) -> int:
    """How many batches an epoch has."""
    return -(-samples // batch)


def samples_of_step(task: Task, batch: int, step: int) -> list[Sample]:
    """The samples of one step.

    An epoch is divided evenly instead of into full batches and a rest: a last batch of one or two cases would weigh as
    much as any other, and might be smaller than the number of processes.
    """
    epoch, index = divmod(step, steps_in_epoch(task.samples, batch))
    part = np.array_split(task.order(epoch), steps_in_epoch(task.samples, batch))[index]
    return [Sample(epoch, number) for number in part.tolist()]


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

    fingerprint: of the data, compared with that of the checkpoint. patience, window: of ``Position.assess``. where:
    added to every event (the fold).

    Raises Interrupted after a stop request, with everything saved; InputError: a loss that is not finite (the last
    checkpoint is kept), a checkpoint of another run, a full disk, a device that fails; UsageError: more processes than
    samples in a batch.
    """
    loop = _Loop(task, run, session, folder, {"configuration": to_json(run), "data": fingerprint}, where)
    while loop.position.step < loop.steps and not loop.position.ended:
        loop.step()
        loop.log()
        if loop.epoch_done:
            loop.validate(patience, window)
        if session.processes.any(session.stop.asked, session.device):
            loop.save()
            at = f"step {loop.position.step} of {loop.steps}"
            raise Interrupted(f"Stopped at {at}, saved. Repeat the command to go on.")
        if time.monotonic() - loop.progress.saved > run.checkpoint_seconds:
            loop.save()
    return loop.finish()


class _Loop:
    """One run: where it stands, and the phases of its steps."""

    def __init__(
        self, task: Task, run: Run, session: Session, folder: Path, identity: dict[str, Any], where: dict[str, Any]
    ) -> None:
        """Restores what ``folder`` holds. Raises UsageError for more processes than samples in a batch."""
        self.task, self.run, self.session = task, run, session
        self.job, self.processes = session.job, session.processes
        self.per_epoch = steps_in_epoch(task.samples, run.batch)
        self.steps = run.epochs * self.per_epoch
        self.module = task.module.to(session.device)
        self.module.train()
        self.optimizer = build_optimizer(task.parameters(), run.optimization, session.device)
        self.checkpoints = Checkpoints(folder, self.module, self.optimizer, identity)
        self.position, self.best = self.checkpoints.restore(self.steps)
        self.stepper = Stepper(task, run, self.optimizer, session.device, self.processes)
        if self.position.scaler:
            self.stepper.scaler.load_state_dict(self.position.scaler)
        self.stepper.accumulation = max(self.stepper.accumulation, self.position.accumulation)
        samples = task.samples // self.per_epoch
        if samples < self.processes.count:
            raise UsageError(
                f"A batch has {samples} samples for {self.processes.count} processes. Choose a larger batch or fewer "
                "processes.",
                "too-many-processes",
            )
        done = self.trained_from = self.position.step
        if done < self.steps:
            if done and not self.position.ended:
                self.job.log(f"Continuing at step {done} of {self.steps}.")
            self.job.forget_events(done, (task.phase, "validation"), **where)
        self.where = {"phase": task.phase, **where}
        self.progress = Progress(self.job, session.device, run.epochs, done, self.steps, self.where)
        self.batches = _ahead(task, run.batch, self.stepper, done, self.steps)

    def step(self) -> None:
        """Train on the next batch. Raises InputError for a loss that is not finite or a device that fails."""
        step = self.position.step
        self.epoch, index = divmod(step, self.per_epoch)
        self.epoch_done = index + 1 == self.per_epoch
        self.rate = learning_rate(self.run.optimization, step, self.steps, self.per_epoch)
        set_learning_rate(self.optimizer, self.rate, self.epoch)
        self.samples, parts = next(self.batches)
        try:
            self.figures = self.stepper.step(self.samples, parts, step)
        except RuntimeError as error:
            if failure := device_failure(error, self.session.device):
                raise failure from error
            raise
        self._check_finite(self.figures)
        self._report_small_memory()
        self.position.step += 1
        self.progress.images += len(self.samples) * self.task.images_per_sample

    def log(self) -> None:
        """Show the step, and write its figures down, where they are due."""
        step = self.position.step
        logged = step % self.run.log_every == 0 or self.epoch_done or step == 1
        self.progress.step_done(step, self.epoch, self.figures | {"learning_rate": self.rate}, logged)

    def validate(self, patience: int | None, window: int) -> None:
        """What follows an epoch: validation, where the task has one, the best weights, a preview."""
        # One result for all processes, whatever their rounding.
        figures = self.processes.of_leader(self.task.validate(self.session.device))
        self.module.train()
        if figures is not None:
            self._check_finite({"validation loss": figures["loss"]}, before=1)
            better = self.position.assess(figures["loss"], self.epoch, patience, window)
            if better:
                self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.module.state_dict().items()}
            validation = {"phase": "validation", **figures, "better": better}
            self.progress.event(self.position.step, self.epoch, validation)
        if self.processes.leads:
            self.task.epoch_done(self.epoch, self.session.device)

    def save(self) -> None:
        """Write a checkpoint."""
        if self.processes.leads:
            self.position.scaler = self.stepper.scaler.state_dict()
            self.checkpoints.save(self.position, self.best)
        self.progress.saved = time.monotonic()

    def finish(self) -> Outcome:
        """Save what was trained since, and the best weights for other programs."""
        self.batches.close()
        if self.position.step > self.trained_from:
            self.save()
        if self.best is not None and self.processes.leads:  # again, should the run have been killed between the two
            self.checkpoints.save_best(self.position, self.best)
        self.progress.end()
        return Outcome(self.position, self.best)

    def _report_small_memory(self) -> None:
        """Keep and say that the stepper had to divide a batch further."""
        accumulation = self.stepper.accumulation
        if accumulation <= max(self.run.accumulation, self.position.accumulation):
            return
        self.position.accumulation = accumulation
        result = "slower and with the same result"
        if self.stepper.momenta:
            result = (
                "slower, and its batch normalization has the statistics of a micro-batch instead of the batch: what "
                "is learned differs from a run on a larger memory"
            )
        self.job.log(
            f"The memory of {self.session.device} is too small for a batch of {self.run.batch}: from here on it passes "
            f"in {accumulation} micro-batches, {result}."
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


def _ahead(
    task: Task, batch: int, stepper: Stepper, step: int, steps: int
) -> Iterator[tuple[list[Sample], MicroBatches]]:
    """The batches from a step on, each made in another thread while the ones before it are trained on."""
    # A processor that also computes has one thread to spare; a GPU is fast enough to wait for one.
    threads = 1 if stepper.device.type == "cpu" else 4

    def make(number: int) -> tuple[list[Sample], MicroBatches]:
        samples = samples_of_step(task, batch, number)
        return samples, stepper.micro_batches(samples)

    with ThreadPoolExecutor(threads, "batches") as pool:
        coming = [pool.submit(make, number) for number in range(step, min(step + threads, steps))]
        for following in range(step + threads, steps + threads):
            ready = coming.pop(0).result()
            if following < steps:
                coming.append(pool.submit(make, following))
            yield ready
