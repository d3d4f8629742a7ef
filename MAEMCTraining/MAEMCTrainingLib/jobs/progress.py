"""How a run shows where it stands: the line on the terminal, the state file, events, and TensorBoard's curves."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .job import Job

if TYPE_CHECKING:  # a terminal that follows a job needs no torch
    import torch

    from ..engine.checkpoints import Position


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

    def __init__(self, job: Job, epochs: int, step: int, steps: int, where: dict[str, Any]) -> None:
        self.job, self.epochs, self.where = job, epochs, where
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

    def event(self, step: int, epoch: int, figures: dict[str, Any]) -> None:
        """Write figures down."""
        self.job.event(step=step, epoch=epoch, **self.where, **figures)
        if self.board is not None:
            for name, value in figures.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    self.board.add_scalar(name, value, step)

    def show(self, position: Position, epoch: int, loss: float, rate: float) -> None:
        """Renew the state file every second; a terminal's line twice a second, a log's line every quarter minute."""
        now = time.monotonic()
        ended = position.step == self.steps
        due = not self.quiet and (now - self.shown > (0.5 if self.live else 15) or ended)
        if not (due or now - self.written > 1 or ended):
            return
        left = (now - self.started) / max(1, position.step - self.first) * (self.steps - position.step)
        self.written = now
        place = {"step": position.step, "steps": self.steps, "epoch": epoch, "epochs": self.epochs}
        place |= {"fold": self.where["fold"]} if "fold" in self.where else {}
        self.job.update(**place, seconds_left=round(left))
        if not due:
            return
        self.shown = now
        figures = {"loss": loss, "learning_rate": rate, "images_per_second": self.images_per_second()}
        line = progress_line(self.job.state, figures)
        print(f"\r\x1b[K{line}" if self.live else line, end="" if self.live else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line; close the curves."""
        if self.live and math.isfinite(self.shown):
            print(file=sys.stderr)
        if self.board is not None:
            self.board.close()


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
