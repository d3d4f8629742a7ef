"""What the job folders say. Runs beside the window, in a thread of its own: no Qt, no MRML, no translation here."""

import contextlib
import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from MAEMCLib.errors import MAEMCError
from MAEMCLib.files.atomic import read_json
from MAEMCTrainingLib.data.kinds import kind_of_job
from MAEMCTrainingLib.jobs.files import EventLog, read_state
from MAEMCTrainingLib.jobs.job import Job, known_jobs, last_output

POINTS_AT_MOST = 1000
"""Of each curve."""


@dataclasses.dataclass(frozen=True)
class Curve:
    """One line to draw. figure: the event's key ("loss", "loss_mse", ...), or "validation". fold: from 0, or None."""

    figure: str
    fold: int | None
    steps: tuple[float, ...]
    values: tuple[float, ...]


def thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most ``POINTS_AT_MOST`` of a curve's points: every second, fourth, eighth ... of a long one, and its last."""
    stride = 1 << ((len(points) - 1) // (POINTS_AT_MOST - 1)).bit_length() if points else 1
    return points[::stride] if (len(points) - 1) % stride == 0 else [*points[::stride], points[-1]]


class JobCurves:
    """What a job's events say, line by line."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, int | None, str], list[tuple[float, float]]] = {}
        self._current: tuple[str, int | None] | None = None

    def add(self, event: Mapping[str, Any]) -> None:
        """Take an event in; those without a step and a loss are no points of a curve."""
        phase, step, fold = event.get("phase"), event.get("step"), event.get("fold")
        if phase not in ("pretrain", "finetune", "validation") or not isinstance(step, int | float):
            return
        figures = {name: value for name, value in event.items() if name == "loss" or name.startswith("loss_")}
        for figure, value in figures.items():
            if isinstance(value, int | float):
                self._lines.setdefault((phase, fold, figure), []).append((step, value))
        if phase != "validation" and figures:
            self._current = (phase, fold)

    def shown(self) -> tuple[Curve, ...]:
        """The curves that belong into one picture: the losses of what is trained now, or was last; for a fine-tuning
        the validation of all folds so far beside it. A part that is the whole loss is drawn once."""
        if self._current is None:
            return ()
        curves, whole = [], self._lines.get((*self._current, "loss"))
        for (phase, fold, figure), line in self._lines.items():
            validation = phase == "validation" and self._current[0] == "finetune"
            if (phase, fold) == self._current or validation:
                if line is not whole and line == whole:
                    continue
                steps, values = zip(*thinned(line), strict=True)
                curves.append(Curve("validation" if validation else figure, fold, steps, values))
        return tuple(sorted(curves, key=lambda curve: (curve.figure == "validation", curve.figure, curve.fold or 0)))


@dataclasses.dataclass(frozen=True)
class JobEntry:
    """One job as the list shows it: kind "pretrain" or "finetune", true status, progress from 0 to 1, state.json.

    message: why it failed, or stopped. method: of a pre-training; input: the kind that it learns from; both are
    known once the job has its data.
    """

    folder: Path
    kind: str
    status: str
    progress: float
    state: Mapping[str, Any]
    message: str = ""
    method: str = ""
    input: str | None = None

    @property
    def active(self) -> bool:
        """Whether a process is at work on it, or about to be."""
        return self.status in ("queued", "running")


@dataclasses.dataclass(frozen=True)
class JobDetails:
    """One job in full, as far as it is there: preview is a PNG's name and bytes, metrics what metrics.json holds,
    report the page for people."""

    folder: Path
    curves: tuple[Curve, ...] = ()
    preview: tuple[str, bytes] | None = None
    metrics: Mapping[str, Any] | None = None
    report: Path | None = None


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The jobs of this machine, the newest first, and the one looked at in full."""

    jobs: tuple[JobEntry, ...] = ()
    details: JobDetails | None = None

    def job(self, folder: Path | None) -> JobEntry | None:
        """The job in a folder, if it is known."""
        return next((job for job in self.jobs if job.folder == folder), None)


class JobWatcher:
    """Takes snapshots; reads of each events file only what is new. For one thread at a time."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._log: EventLog | None = None
        self._events: list | None = None
        self._taken = 0
        self._curves = JobCurves()

    def look(self, home: Path, folder: Path | None, ended: Collection[Path] = ()) -> Snapshot:
        """The jobs of a MAEMC_HOME; in full the one in ``folder``. ended: jobs whose process is known to have ended."""
        jobs = [entry for job in reversed(known_jobs(home)) if (entry := _entry(job, job.folder in ended)) is not None]
        selected = next((job for job in jobs if job.folder == folder), None)
        return Snapshot(tuple(jobs), self._details(selected) if selected is not None else None)

    def _details(self, job: JobEntry) -> JobDetails:
        if job.folder != self._folder:
            self._folder, self._log, self._events = job.folder, EventLog(job.folder), None
        self._readEvents()
        report = job.folder / "report.html"
        finished = job.status == "finished" and report.is_file()
        preview, metrics = _preview(job.folder), _metrics(job)
        return JobDetails(job.folder, self._curves.shown(), preview, metrics, report if finished else None)

    def _readEvents(self) -> None:
        self._log.refresh()
        if self._log.events is not self._events:  # another job, or one whose continued run wrote its events anew
            self._events, self._taken, self._curves = self._log.events, 0, JobCurves()
        for event in self._events[self._taken :]:
            self._curves.add(event)
        self._taken = len(self._events)


def _preview(folder: Path) -> tuple[str, bytes] | None:
    newest = max((folder / "previews").glob("epoch-*.png"), default=None)
    with contextlib.suppress(OSError):  # of a job that is being deleted
        return newest and (newest.name, newest.read_bytes())
    return None


def _entry(job: Job, ended: bool) -> JobEntry | None:
    """The job for the list, a damaged one with the reason; None where its folder has just gone."""
    try:
        status, state = job.status, read_state(job.folder)
        if status == "queued" and ended:  # it never came as far as its lock
            status = "failed"
        message = state.get("message") or (last_output(job.folder) if status == "failed" else "")
        settings = job.settings
        method = settings.get("configuration", {}).get("method", "")
        name = kind_of_job(settings).name if "preprocessing" in settings else None
        return JobEntry(job.folder, settings.get("kind", ""), status, job.progress, state, message, method, name)
    except (MAEMCError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        gone = not job.folder.exists()
        return None if gone else JobEntry(job.folder, "", "failed", 0.0, {}, str(error))


def _metrics(job: JobEntry) -> Mapping[str, Any] | None:
    path = job.folder / "metrics.json"
    try:
        return read_json(path, "The job's metrics") if job.status == "finished" and path.is_file() else None
    except MAEMCError:
        return None
