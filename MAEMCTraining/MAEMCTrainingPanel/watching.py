"""What the job folders say. Runs beside the window, in a thread of its own: no Qt, no MRML and no translation here."""

import contextlib
import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from MAEMCLib.errors import MAEMCError
from MAEMCLib.files.atomic import read_json
from MAEMCTrainingLib.data.kinds import kind_of_job
from MAEMCTrainingLib.jobs.events import EventLog
from MAEMCTrainingLib.jobs.job import Job, known_jobs, read_state

from .curves import Curve, JobCurves


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
        message = state.get("message") or (_lastOutput(job.folder) if status == "failed" else "")
        settings = job.settings
        method = settings.get("configuration", {}).get("method", "")
        name = kind_of_job(settings).name if "preprocessing" in settings else None
        return JobEntry(job.folder, settings.get("kind", ""), status, job.progress, state, message, method, name)
    except (MAEMCError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        gone = not job.folder.exists()
        return None if gone else JobEntry(job.folder, "", "failed", 0.0, {}, str(error))


def _lastOutput(folder: Path) -> str:
    """The last line that a process printed which died without a word in the job's state."""
    try:
        lines = (folder / "output.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""


def _metrics(job: JobEntry) -> Mapping[str, Any] | None:
    path = job.folder / "metrics.json"
    try:
        return read_json(path, "The job's metrics") if job.status == "finished" and path.is_file() else None
    except MAEMCError:
        return None
