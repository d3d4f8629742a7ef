"""What the module can do without its panel: start, watch, stop and resume training jobs, and take models from them."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import MAEMCTrainingLib
import slicer
from MAEMCLib.errors import InputError, MAEMCError, UsageError
from MAEMCLib.files.atomic import home
from MAEMCLib.machine.child_processes import library_environment
from MAEMCNodulePanel.interpreter import slicerPython
from MAEMCNodulePanel.status import PanelLogic, Status
from MAEMCTrainingLib.jobs.launching import launch, resume
from MAEMCTrainingLib.jobs.stopping import request_stop
from slicer.i18n import tr as _

from . import chart
from .commands import ChildCommands, exportToModels, importData, proposedID
from .dataset import DataSummary, readData
from .device import DeviceProbe
from .reducing import ReductionProgress, ReductionRequest, reduceData, unfinished
from .request import JobRequest
from .watching import JobEntry, JobWatcher, Snapshot

LOOK_SECONDS = 1.0
"""The job folders are looked at this often while the panel is shown."""


class MAEMCTrainingLogic(PanelLogic):
    """Starts training jobs, each a process of its own that goes on without Slicer, and reads where they stand.

    For scripts: ``start``, ``wait``, ``stop``, ``resume``, ``jobs``, ``showCurve`` and ``exportModel``. For windows:
    ``requestStart`` and its like return at once, and ``poll``, called a few times a second, brings in what was done and
    read meanwhile (``status``, ``snapshot``, ``data``, ``reduction``, ``skipped`` of the last import); ``changed`` (a
    Signal) tells when there is something new to show. Whoever makes a logic ends it with ``cleanup``; the jobs go on.
    """

    def __init__(self, python: str | None = None) -> None:
        super().__init__()
        self.snapshot = Snapshot()
        self.data: DataSummary | None = None
        self.skipped: list[str] = []
        self.selected: Path | None = None
        self.probe = DeviceProbe()
        self._python = python
        # A reduction, and a manifest on a slow disk, do not hold up the jobs' list.
        self._pool = ThreadPoolExecutor(3, "MAEMCTraining")
        self._commands: list[ChildCommands] = []  # of every task
        self._reducing: ChildCommands | None = None  # of the latest reduction, which can be stopped
        self._reductionTask: Future | None = None
        self._progress = self._progressShown = ReductionProgress()
        self._tasks: list[tuple[Future, Callable]] = []
        self._wanted: Path | None = None
        self._watcher = JobWatcher()
        self._looking: Future | None = None
        self._lookedAt = float("-inf")
        self._processes: dict = {}
        self._curveOf: Path | None = None
        self._curveDrawn: tuple | None = None  # None: it is still to be brought into view
        self._layoutBefore: int | None = None

    def cleanup(self) -> None:
        """Let go of everything but the jobs."""
        self.changed.disconnectAll()
        self._tasks.clear()
        self.probe.stop()
        for commands in self._commands:
            commands.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)
        chart.remove()

    # For scripts

    def start(self, kind: str, data: str | Path, folder: str | Path | None = None, **choices) -> Path:
        """Start a job ("pretrain", "finetune", "fuse") on a manifest or cache, in its own process; returns its folder.

        choices: the other fields of ``JobRequest`` (method, preset, startFrom, device, folds ...). Raises UsageError or
        InputError where the folder is taken or cannot be written. What is wrong with the data the job finds itself: it
        fails, and says so.
        """
        return self._launch(JobRequest(kind, data, folder, **choices).command(), self._place())

    def resume(self, folder: str | Path) -> Path:
        """Continue a job that was stopped or has failed, in a process of its own. Raises as ``start`` does."""
        return self._resume(Path(folder), self._place())

    def stop(self, folder: str | Path) -> None:
        """Ask a job to finish its step, save and stop. Raises InputError where its folder cannot be written."""
        request_stop(Path(folder))

    def jobs(self) -> tuple:
        """The jobs of this machine (``JobEntry``), the newest first, as they are now."""
        return self._look().jobs

    def job(self, folder: str | Path) -> JobEntry:
        """One job as it is now. Raises InputError where it is not known."""
        job = self._look().job(Path(folder))
        if job is None:
            raise InputError(_("There is no job {folder}.").format(folder=folder), "no-job")
        return job

    def wait(self, folder: str | Path, timeout: float | None = None) -> JobEntry:
        """Wait until a job has ended, with the window alive. Raises TimeoutError after ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (job := self.job(folder)).active:
            slicer.app.processEvents()
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"not ended within {timeout:g} s: {job.state}")
            time.sleep(0.05)
        return job

    def exportModel(self, folder: str | Path, modelID: str = "") -> str:
        """Make a finished fine-tuning a model of this machine and return its "id@version"; waits for it.

        Raises ModelError where it cannot be exported.
        """
        return exportToModels(self._newCommands(), Path(folder), modelID or proposedID(Path(folder)))

    def showCurve(self, folder: str | Path) -> None:
        """Draw a job's losses as they are now, and let a plot view show them."""
        self._curveOf, self._curveDrawn = Path(folder), None
        self._followCurve(self._look(self._curveOf))

    # For windows

    def requestData(self, path: Path | None) -> None:
        """Count what a manifest or cache holds; ``data`` is None meanwhile."""
        self.data, self._wanted = None, path
        if path is not None:
            self._inBackground(partial(self._onDataRead, path), partial(readData, path))
        self.changed.emit()

    def requestStart(self, request: JobRequest) -> None:
        """``start``, beside the window: a slow disk does not hold it up. Raises UsageError for impossible choices."""
        command, place = request.command(), self._place()
        self._inBackground(self._onLaunched, lambda: self._launch(command, place), _("Starting ..."))

    def requestResume(self, folder: Path) -> None:
        """``resume``, beside the window."""
        place = self._place()
        self._inBackground(self._onLaunched, lambda: self._resume(folder, place), _("Resuming ..."))

    def requestModel(self, folder: Path) -> None:
        """``exportModel``, beside the window; then MAEMC Nodule scores with it."""
        commands, name = self._newCommands(), proposedID(folder)
        text = _("Exporting {name}; this may take a minute ...").format(name=name)
        self._inBackground(self._onExported, lambda: exportToModels(commands, folder, name), text)

    def requestImport(self, kind: str, source: Path, done: Callable[[Path], None]) -> None:
        """Make a manifest of a data set or scene, beside the window; ``done`` is called with its path."""
        commands, place = self._newCommands(), home()

        def onImported(answer: tuple) -> None:
            manifest, self.skipped = answer
            text = _("{number} items were skipped; the counts' tooltip says why.") if self.skipped else ""
            self.statusLine.set(Status("idle", text.format(number=len(self.skipped))))
            done(manifest)

        text = _("Importing {source}; a large archive takes minutes ...").format(source=source.name)
        self._inBackground(onImported, lambda: importData(commands, kind, source, place), text)

    def requestReduction(self, source: Path, request: ReductionRequest, done: Callable[[Path], None]) -> None:
        """Leave slices out of a manifest that look like others of their volume, beside the window; ``done`` is called
        with the manifest of those that stay. A request that was stopped goes on where it was.
        """
        commands, place = self._newCommands(), home()
        self._reducing, self._progress = commands, ReductionProgress()

        def onProgress(progress: ReductionProgress) -> None:
            self._progress = progress

        def onReduced(answer: tuple) -> None:
            manifest, kept, slices, self.skipped = answer
            text = _("{kept} of {slices} slices stay; each is a 2-D picture.")
            self.statusLine.set(Status("idle", text.format(kept=kept, slices=slices)))
            done(manifest)

        text = _("Comparing the slices of {source} ...").format(source=source.name)
        work = partial(reduceData, commands, source, request, place, onProgress)
        self._reductionTask = self._inBackground(onReduced, work, text)

    @property
    def reduction(self) -> ReductionProgress | None:
        """How far the reduction is that runs; None where none does."""
        return self._progress if self._reductionTask in [task for task, _done in self._tasks] else None

    def stopReduction(self) -> None:
        """End the reduction that runs; the volumes that are done are kept."""
        if self._reducing is not None:
            self._reducing.stop()

    def unfinishedReductions(self, source: Path) -> list:
        """The requests (``ReductionRequest``) for these data of which a part is done, the last one first."""
        return unfinished(home(), source)

    def requestDevice(self) -> None:
        """Find out what training will compute on."""
        try:
            self.probe.ask(self._python or slicerPython())
        except MAEMCError as error:
            self.statusLine.fail(error)

    def select(self, folder: Path | None) -> None:
        """Look at this job in full from now on."""
        self.selected = folder
        self._lookedAt = float("-inf")

    def requestCurve(self, folder: Path) -> None:
        """``showCurve`` of the selected job, as soon as its events have been read; then it is kept up to date."""
        self.select(folder)
        self._curveOf, self._curveDrawn = folder, None

    def leaveCurve(self) -> None:
        """Bring back the layout that the curve has taken the place of, unless another has been chosen meanwhile."""
        chart.leaveLayout(self._layoutBefore)
        self._layoutBefore = None

    def isBusy(self) -> bool:
        """Whether something is being started, read or exported; watching jobs does not count."""
        return bool(self._tasks) or self.probe.asking

    def poll(self, watching: bool = True) -> bool:
        """Bring in what was done and read meanwhile; True where there is something new. watching: also look at the
        job folders, once a second."""
        news = self.probe.poll()
        for task, done in [pair for pair in self._tasks if pair[0].done()]:
            self._tasks.remove((task, done))
            news = True
            try:
                done(task.result())
            except MAEMCError as error:
                if error.code == "stopped":
                    self.statusLine.set(Status("idle", _("Stopped. With the same settings it goes on where it was.")))
                else:
                    self.statusLine.fail(error)
        news, self._progressShown = news or self._progress != self._progressShown, self._progress
        if self._looking is not None and self._looking.done():
            snapshot, self._looking = self._looking.result(), None
            news = news or snapshot != self.snapshot
            self._reportEnded(self.snapshot, snapshot)
            self.snapshot = snapshot
            self._followCurve(snapshot)
        if watching and self._looking is None and time.monotonic() - self._lookedAt > LOOK_SECONDS:
            self._lookedAt = time.monotonic()
            self._looking = self._pool.submit(self._watcher.look, home(), self.selected, self._ended())
        return news

    # How it is done

    def _place(self) -> tuple:
        """(MAEMC_HOME, interpreter, environment) of a job."""
        return home(), [self._python or slicerPython()], library_environment(MAEMCTrainingLib)

    def _newCommands(self) -> ChildCommands:
        _home, (python,), environment = self._place()
        self._commands.append(ChildCommands(python, environment))
        return self._commands[-1]

    def _look(self, folder: Path | None = None) -> Snapshot:
        """The jobs as they are now; in full the one in ``folder``."""
        return JobWatcher().look(home(), folder, self._ended())

    def _launch(self, command: tuple, place: tuple) -> Path:
        folder, arguments = command
        if (folder / "job.json").is_file():
            raise UsageError(f"{folder} holds a job already. Resume it, or choose another name.", "job-exists")
        self._processes[folder] = launch(arguments, folder, *place, directory=folder.parent)
        return folder

    def _resume(self, folder: Path, place: tuple) -> Path:
        self._processes[folder] = resume(folder, *place)
        return folder

    def _reportEnded(self, before: Snapshot, now: Snapshot) -> None:
        texts = {"finished": _("{job} is finished."), "stopped": _("{job} was stopped."), "failed": _("{job} failed.")}
        for job in now.jobs:
            earlier = before.job(job.folder)
            if earlier is not None and earlier.active and job.status in texts and self.status.kind == "idle":
                self.statusLine.status = Status("idle", texts[job.status].format(job=job.folder.name))

    def _followCurve(self, snapshot: Snapshot) -> None:
        details = snapshot.details
        if self._curveOf is None or details is None or details.folder != self._curveOf or not details.curves:
            return
        first = self._curveDrawn is None
        if not first and not chart.isInScene():  # the scene was closed, or the chart deleted
            self._curveOf = None
            return
        if first or details.curves != self._curveDrawn:
            self._curveDrawn = details.curves
            chart.showCurves(self._curveOf.name, details.curves)
        if first:
            self._layoutBefore = chart.showInLayout() or self._layoutBefore

    def _ended(self) -> set:
        # poll() also lets the system forget a process that has ended.
        return {folder for folder, process in list(self._processes.items()) if process.poll() is not None}

    def _inBackground(self, done: Callable, work: Callable, text: str = "") -> Future:
        """Have work done beside the window and its result passed to ``done``; the status line says text meanwhile."""
        task = self._pool.submit(work)
        self._tasks.append((task, done))
        if text:
            self.statusLine.set(Status("busy", text))
        return task

    def _onDataRead(self, path: Path, data: DataSummary) -> None:
        if path == self._wanted:  # of two choices in a row only the last counts
            self.data = data

    def _onLaunched(self, folder: Path) -> None:
        self.requestCurve(folder)
        text = _("{job} was started. It goes on when Slicer is closed.")
        self.statusLine.set(Status("idle", text.format(job=folder.name)))

    def _onExported(self, reference: str) -> None:
        slicer.util.getModuleLogic("MAEMCNodule").getParameterNode().model = reference
        text = _("MAEMC Nodule now scores with {model}. Research only, not for clinical use.")
        self.statusLine.set(Status("idle", text.format(model=reference)))
