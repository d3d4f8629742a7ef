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
import torch
from MAEMCLib.errors import InputError, UsageError
from torch import Tensor

from ..jobs.job import Job
from ..jobs.progress import Progress, peak_memory_mb
from ..jobs.stopping import Interrupted, StopRequest
from . import checkpoints
from .checkpoints import Position
from .configuration import to_json
from .optimization import build_optimizer, learning_rate
from .processes import Processes
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
    job: Job,
    folder: Path,
    fingerprint: str,
    device: torch.device,
    stop: StopRequest,
    processes: Processes = Processes(),  # noqa: B008 - frozen
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
    identity = {"configuration": to_json(run), "data": fingerprint}
    module = task.module.to(device)
    module.train()
    optimizer = build_optimizer(task.parameters(), run.optimization, device)
    position, best = checkpoints.restore(folder, module, optimizer, identity)
    stepper = Stepper(task, run, optimizer, device, processes)
    if position.scaler:
        stepper.scaler.load_state_dict(position.scaler)
    stepper.accumulation = max(stepper.accumulation, position.accumulation)
    per_epoch = steps_in_epoch(task.samples, run.batch)
    if task.samples // per_epoch < processes.count:
        raise UsageError(
            f"A batch has {task.samples // per_epoch} samples for {processes.count} processes. Choose a larger batch "
            "or fewer processes.",
            "too-many-processes",
        )
    steps = run.epochs * per_epoch
    checkpoints.check_step(folder, position, steps)
    if position.step and not position.ended and position.step < steps:
        job.log(f"Continuing at step {position.step} of {steps}.")
    if position.step < steps:
        job.forget_events(position.step, (task.phase, "validation"), **where)
    where = {"phase": task.phase, **where}
    trained_from = position.step
    progress = Progress(job, run.epochs, position.step, steps, where)

    def save() -> None:
        if processes.leads:
            position.scaler = stepper.scaler.state_dict()
            checkpoints.save(folder, module, optimizer, position, best, identity)
        progress.saved = time.monotonic()

    batches = _ahead(task, run.batch, stepper, position.step, steps)
    while position.step < steps and not position.ended:
        epoch, index = divmod(position.step, per_epoch)
        rate = learning_rate(run.optimization, position.step, steps, per_epoch)
        samples, shares = next(batches)
        try:
            figures = stepper.step(samples, shares, rate, epoch, position.step)
        except RuntimeError as error:
            if failure := device_failure(error, device):
                raise failure from error
            raise
        _check_finite(figures, task, samples, epoch, position.step)
        if stepper.accumulation > max(run.accumulation, position.accumulation):
            position.accumulation = stepper.accumulation
            result = "slower and with the same result"
            if stepper.running.layers:
                result = (
                    "slower, and its batch normalization has the statistics of a share instead of the batch: what is "
                    "learned differs from a run on a larger memory"
                )
            job.log(
                f"The memory of {device} is too small for a batch of {run.batch}: from here on it passes in "
                f"{stepper.accumulation} shares, {result}."
            )
        position.step += 1
        progress.images += len(samples) * task.images_per_sample
        epoch_done = index + 1 == per_epoch
        if position.step % run.log_every == 0 or epoch_done or position.step == 1:
            speed = {"learning_rate": rate, "images_per_second": round(progress.images_per_second(), 2)}
            memory = peak_memory_mb(device)
            progress.event(position.step, epoch, figures | speed | ({"memory_mb": memory} if memory else {}))
        if epoch_done:
            verdict = processes.of_leader(task.validate(device))  # one for all, whatever their rounding
            module.train()
            if verdict is not None:
                loss = verdict["loss"]
                _check_finite({"validation loss": loss}, task, samples, epoch, position.step - 1)
                position.recent = [*position.recent, loss][-window:]
                smoothed = sum(position.recent) / len(position.recent)
                better = position.best_loss is None or smoothed < position.best_loss
                if better:
                    position.best_loss, position.best_epoch, position.stale = smoothed, epoch, 0
                    best = {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
                else:
                    position.stale += 1
                position.ended = patience is not None and position.stale >= patience
                validation = {**where, "phase": "validation", **verdict, "better": better}
                job.event(step=position.step, epoch=epoch, **validation)
            if processes.leads:
                task.epoch_done(epoch, device)
        progress.show(position, epoch, figures["loss"], rate)
        if processes.any(stop.asked, device):
            save()
            raise Interrupted(f"Stopped at step {position.step} of {steps}, saved. Repeat the command to go on.")
        if time.monotonic() - progress.saved > run.checkpoint_seconds:
            save()
    if position.step > trained_from:
        save()
    if best is not None and processes.leads:  # again, should the run have been killed between the two
        checkpoints.save_best(folder, best, position, identity)
    progress.end()
    return Outcome(position, best)


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


def _check_finite(figures: dict[str, float], task: Task, samples: np.ndarray, epoch: int, step: int) -> None:
    broken = [name for name, value in figures.items() if not math.isfinite(value)]
    if broken:
        names = task.names(samples)
        raise InputError(
            f"Training diverged: {', '.join(broken)} not finite at step {step + 1}, epoch {epoch + 1} (cases "
            f"{', '.join(names[:8])}{' ...' if len(names) > 8 else ''}). The last checkpoint before it is kept. "
            "Use a lower learning_rate, and check these cases' images.",
            "not-finite",
        )
