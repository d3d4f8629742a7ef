"""How a run shows where it stands: the line on the terminal, the state file, events, and TensorBoard's curves; and
before it what is prepared."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from .job import Job
from .stopping import Interrupted, StopRequest

if TYPE_CHECKING:  # a terminal that follows a job needs no torch
    import torch


def peak_memory_mb(device: torch.device) -> float | None:
    """The largest memory so far in MB: the GPU's by this process, or the process's own; None where nobody knows."""
    if device.type == "cuda":
        import torch

        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2**20 if sys.platform == "darwin" else peak / 2**10, 1)


class Progress:
    """The course of one ``train``: throughput, time left, and where they are shown."""

    def __init__(
        self, job: Job, device: torch.device, epochs: int, step: int, steps: int, where: dict[str, Any]
    ) -> None:
        self.job, self.device, self.epochs, self.where = job, device, epochs, where
        self.first, self.steps = step, steps
        self.started = self.saved = time.monotonic()
        self.shown = self.written = -math.inf
        self.images = 0
        self.quiet = not (job.leads and logging.getLogger("maemc.job").isEnabledFor(logging.INFO))
        self.live = not self.quiet and sys.stderr.isatty()
        name = f"fold-{where['fold'] + 1}-{where['phase']}" if "fold" in where else where["phase"]
        self.board = None  # TensorBoard's writer, where that package is installed
        if job.leads:
            with contextlib.suppress(ImportError):
                from torch.utils.tensorboard import SummaryWriter

                self.board = SummaryWriter(str(job.folder / "tensorboard" / name), purge_step=step + 1)

    def images_per_second(self) -> float:
        """Mean since this process began."""
        return self.images / max(time.monotonic() - self.started, 1e-9)

    def step_done(self, step: int, epoch: int, figures: dict[str, Any], logged: bool) -> None:
        """Show where the run stands after a step and, where that is due, write its figures down."""
        figures = figures | {"images_per_second": round(self.images_per_second(), 2)}
        self._show(step, epoch, figures)
        if logged:
            memory = peak_memory_mb(self.device)
            self.event(step, epoch, figures | ({"memory_mb": memory} if memory else {}))

    def event(self, step: int, epoch: int, figures: dict[str, Any]) -> None:
        """Write figures down."""
        self.job.event(step=step, epoch=epoch, **self.where | figures)
        if self.board is not None:
            for name, value in figures.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    self.board.add_scalar(name, value, step)

    def _show(self, step: int, epoch: int, figures: dict[str, Any]) -> None:
        """Renew the state file every second; a terminal's line twice a second, a log's line every quarter minute."""
        now = time.monotonic()
        ended = step == self.steps
        due = not self.quiet and (now - self.shown > (0.5 if self.live else 15) or ended)
        if not (due or now - self.written > 1 or ended):
            return
        left = (now - self.started) / max(1, step - self.first) * (self.steps - step)
        self.written = now
        place = {"step": step, "steps": self.steps, "epoch": epoch, "epochs": self.epochs}
        place |= {"fold": self.where["fold"]} if "fold" in self.where else {}
        self.job.update(**place, seconds_left=round(left))
        if not due:
            return
        self.shown = now
        line = progress_line(self.job.state, figures)
        print(f"\r\x1b[K{line}" if self.live else line, end="" if self.live else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line; close the curves."""
        if self.live and math.isfinite(self.shown):
            print(file=sys.stderr)
        if self.board is not None:
            self.board.close()


class TerminalLine:
    """One line on standard error, renewed in place; nothing where that is no terminal, or where all shall be quiet.

    stage: what is done with the cases that a call counts.
    """

    def __init__(self, quiet: bool, stage: str = "") -> None:
        self.live, self.shown = not quiet and sys.stderr.isatty(), False
        self.stage, self.done, self.started = stage, 0, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        self.count(self.stage, done, total)

    def renew(self, text: str) -> None:
        """Show another text in the place of the last one."""
        if self.live:
            self.shown = True
            print(f"\r{text:60}", end="", file=sys.stderr, flush=True)

    def count(self, stage: str, done: int, total: int) -> None:
        """How many cases of a stage are done, and the time left; the stage alone where nothing is counted."""
        now = time.monotonic()
        if stage != self.stage or done < self.done:
            self.started = now
        self.stage, self.done = stage, done
        left = f"  {duration((now - self.started) * (total / done - 1))} left" if done else ""
        self.renew(f"{stage} case {done} of {total}{left}" if total else stage)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.shown:
            print(file=sys.stderr)


class Preparation(TerminalLine):
    """What comes before a training, shown as a line on the terminal and in the job's state."""

    def __init__(self, quiet: bool, job: Job, stop: StopRequest) -> None:
        super().__init__(quiet, "Cutting")
        self.job, self.stop, self.written = job, stop, 0.0

    def __call__(self, done: int, total: int) -> None:
        """Raises Interrupted after a stop request."""
        super().__call__(done, total)
        if self.stop.asked:
            raise Interrupted("Stopped while preparing. What is done is kept; repeat the command to go on.")
        if time.monotonic() - self.written > 1:
            self.written = time.monotonic()
            self.job.update(stage="Cutting regions", step=done, steps=total)


def progress_line(state: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """state: as state.json; figures: "loss", "learning_rate" and "images_per_second" of a training event, or none."""
    parts = [state.get("stage", "")]
    if state.get("epochs") and figures:
        parts.append(f"epoch {state.get('epoch', 0) + 1}/{state['epochs']}")
    if state.get("steps"):
        parts.append(f"step {state.get('step', 0)}/{state['steps']}")
    formats = {"loss": "loss {:.4f}", "learning_rate": "rate {:.2e}", "images_per_second": "{:.0f} images/s"}
    parts += [text.format(figures[name]) for name, text in formats.items() if name in figures]
    if state.get("seconds_left") is not None:
        parts.append(f"{duration(state['seconds_left'])} left")
    return "  ".join(part for part in parts if part)


def duration(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
