"""What the module can do without its panel: start, watch, stop and resume training jobs, and take models from them."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import MAEMCTrainingLib
import slicer
from MAEMCLib.errors import InputError, MAEMCError, UsageError
from MAEMCLib.files.home import home
from MAEMCNodulePanel.interpreter import libraryEnvironment, slicerPython
from MAEMCNodulePanel.status import Status
from MAEMCTrainingLib.jobs.launching import launch, resume
from MAEMCTrainingLib.jobs.stopping import request_stop
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from . import chart
from .commands import ChildCommands
from .dataset import DataSummary, readData
from .device import DeviceProbe
from .folders import proposedID
from .importing import importData
from .modelexport import exportToModels
from .reducing import ReductionProgress, ReductionRequest, reduceData, unfinished
from .request import JobRequest
from .watching import JobEntry, JobWatcher, Snapshot

LOOK_SECONDS = 1.0
"""The job folders are looked at this often while the panel is shown."""


class MAEMCTrainingLogic(ScriptedLoadableModuleLogic):
    """Starts training jobs, each a process of its own that goes on without Slicer, and reads where they stand.

    For scripts: ``start``, ``wait``, ``stop``, ``resume``, ``jobs``, ``showCurve`` and ``exportModel``. For windows:
    ``requestStart`` and its like return at once, and ``poll``, called a few times a second, brings in what was done and
    read meanwhile (``status``, ``snapshot``, ``data``, ``reduction``, ``skipped`` of the last import); ``onChanged`` (a
    function without arguments) is called when there is something new to show. Whoever makes a logic ends it with
    ``cleanup``; the jobs go on.
    """

    def __init__(self, python: str | None = None) -> None:
        super().__init__()
        self.onChanged: Callable[[], None] | None = None
        self.status = Status()
        self.snapshot = Snapshot()
        self.data: DataSummary | None = None
        self.skipped: list[str] = []
        self.selected: Path | None = None
        self.probe = DeviceProbe()
        self._python = python
        # A reduction, and a manifest on a slow disk, do not hold up the jobs' list.
        self._pool = ThreadPoolExecutor(3, "MAEMCTraining")
        self._commands = ChildCommands()
        self._reducing = ChildCommands()  # of a reduction alone, which can be stopped
        self._reductionTask: Future | None = None
        self._told = self._toldBefore = ReductionProgress()
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
        self.onChanged = None
        self._tasks.clear()
        self.probe.stop()
        self._commands.stop()
        self.stopReduction()
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
        self._noteEnded()
        return JobWatcher().look(home(), None, self._ended()).jobs

    def job(self, folder: str | Path) -> JobEntry:
        """One job as it is now. Raises InputError where it is not known."""
        found = next((job for job in self.jobs() if job.folder == Path(folder)), None)
        if found is None:
            raise InputError(_("There is no job {folder}.").format(folder=folder), "no-job")
        return found

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
        _home, python, environment = self._place()
        name = modelID or proposedID(Path(folder))
        return exportToModels(self._commands, Path(folder), name, python[0], environment)

    def showCurve(self, folder: str | Path) -> None:
        """Draw a job's losses as they are now, and let a plot view show them."""
        self._curveOf, self._curveDrawn = Path(folder), None
        self._followCurve(JobWatcher().look(home(), self._curveOf, self._ended()))

    # For windows

    def requestData(self, path: Path | None) -> None:
        """Count what a manifest or cache holds; ``data`` is None meanwhile."""
        self.data, self._wanted = None, path
        if path is not None:
            self._inBackground(self._onDataRead, lambda: (path, readData(path)))
        self._notify()

    def requestStart(self, request: JobRequest) -> None:
        """``start``, beside the window: a slow disk does not hold it up. Raises UsageError for impossible choices."""
        command, place = request.command(), self._place()
        self.setStatus(Status("busy", _("Starting ...")))
        self._inBackground(self._onLaunched, lambda: self._launch(command, place))

    def requestResume(self, folder: Path) -> None:
        """``resume``, beside the window."""
        place = self._place()
        self.setStatus(Status("busy", _("Resuming ...")))
        self._inBackground(self._onLaunched, lambda: self._resume(folder, place))

    def requestModel(self, folder: Path) -> None:
        """``exportModel``, beside the window; then MAEMC Nodule scores with it."""
        _home, python, environment = self._place()
        name = proposedID(folder)
        self.setStatus(Status("busy", _("Exporting {name}; this may take a minute ...").format(name=name)))
        self._inBackground(
            self._onExported, lambda: exportToModels(self._commands, folder, name, python[0], environment)
        )

    def requestImport(self, kind: str, source: Path, done: Callable[[Path], None]) -> None:
        """Make a manifest of a data set or scene, beside the window; ``done`` is called with its path."""
        place, python, environment = self._place()
        self.setStatus(
            Status("busy", _("Importing {source}; a large archive takes minutes ...").format(source=source.name))
        )

        def onImported(answer: tuple) -> None:
            manifest, self.skipped = answer
            text = _("{number} items were skipped; the counts' tooltip says why.") if self.skipped else ""
            self.setStatus(Status("idle", text.format(number=len(self.skipped))))
            done(manifest)

        self._inBackground(onImported, lambda: importData(self._commands, kind, source, place, python[0], environment))

    def requestReduction(self, source: Path, request: ReductionRequest, done: Callable[[Path], None]) -> None:
        """Leave slices out of a manifest that look like others of their volume, beside the window; ``done`` is called
        with the manifest of those that stay. A request that was stopped goes on where it was.
        """
        place, python, environment = self._place()
        self._reducing, self._told = ChildCommands(), ReductionProgress()
        commands = self._reducing

        def tell(progress: ReductionProgress) -> None:
            self._told = progress

        def onReduced(answer: tuple) -> None:
            manifest, kept, slices, self.skipped = answer
            text = _("{kept} of {slices} slices stay; each is a 2-D picture.")
            self.setStatus(Status("idle", text.format(kept=kept, slices=slices)))
            done(manifest)

        self._reductionTask = self._inBackground(
            onReduced, lambda: reduceData(commands, source, request, place, python[0], environment, tell)
        )
        text = _("Comparing the slices of {source} ...")
        self.setStatus(Status("busy", text.format(source=source.name)))

    @property
    def reduction(self) -> ReductionProgress | None:
        """How far the reduction is that runs; None where none does."""
        runs = any(task is self._reductionTask for task, _done in self._tasks)
        return self._told if runs else None

    def stopReduction(self) -> None:
        """End the reduction that runs; the volumes that are done are kept."""
        self._reducing.stop()

    def unfinishedReductions(self, source: Path) -> list:
        """The requests (``ReductionRequest``) for these data of which a part is done, the last one first."""
        return unfinished(home(), source)

    def requestDevice(self) -> None:
        """Find out what training will compute on."""
        try:
            self.probe.ask(self._python or slicerPython())
        except MAEMCError as error:
            self.setStatus(Status("error", str(error), error.code))

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
        manager = slicer.app.layoutManager()
        if manager is not None and self._layoutBefore is not None and manager.layout == chart.layoutWithPlot():
            manager.setLayout(self._layoutBefore)
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
                self._onFailed(error)
        news, self._toldBefore = news or self._told != self._toldBefore, self._told
        if self._looking is not None and self._looking.done():
            snapshot, self._looking = self._looking.result(), None
            news = news or snapshot != self.snapshot
            self._tellEnded(self.snapshot, snapshot)
            self.snapshot = snapshot
            self._followCurve(snapshot)
        if watching and self._looking is None and time.monotonic() - self._lookedAt > LOOK_SECONDS:
            self._lookedAt = time.monotonic()
            self._noteEnded()
            place, folder, ended = home(), self.selected, self._ended()
            self._looking = self._pool.submit(self._watcher.look, place, folder, ended)
        return news

    def setStatus(self, status: Status) -> None:
        """Say something in the status line."""
        self.status = status
        self._notify()

    # How it is done

    def _place(self) -> tuple:
        """(MAEMC_HOME, interpreter, environment) of a job."""
        return home(), [self._python or slicerPython()], libraryEnvironment(MAEMCTrainingLib)

    def _launch(self, command: tuple, place: tuple) -> Path:
        folder, arguments = command
        if (folder / "job.json").is_file():
            raise UsageError(f"{folder} holds a job already. Resume it, or choose another name.", "job-exists")
        self._processes[folder] = launch(arguments, folder, *place, directory=folder.parent)
        return folder

    def _resume(self, folder: Path, place: tuple) -> Path:
        self._processes[folder] = resume(folder, *place)
        return folder

    def _tellEnded(self, before: Snapshot, now: Snapshot) -> None:
        texts = {"finished": _("{job} is finished."), "stopped": _("{job} was stopped."), "failed": _("{job} failed.")}
        for job in now.jobs:
            earlier = before.job(job.folder)
            if earlier is not None and earlier.active and job.status in texts and self.status.kind == "idle":
                self.status = Status("idle", texts[job.status].format(job=job.folder.name))

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
            manager = slicer.app.layoutManager()
            before = manager.layout if manager is not None else None
            chart.showInLayout()
            if manager is not None and manager.layout != before:
                self._layoutBefore = before

    def _noteEnded(self) -> None:
        for process in list(self._processes.values()):
            process.poll()  # also lets the system forget a process that has ended

    def _ended(self) -> set:
        return {folder for folder, process in list(self._processes.items()) if process.returncode is not None}

    def _inBackground(self, done: Callable, work: Callable) -> Future:
        task = self._pool.submit(work)
        self._tasks.append((task, done))
        return task

    def _onFailed(self, error: MAEMCError) -> None:
        if error.code == "stopped":
            text = _("Stopped. With the same settings it goes on where it was.")
            self.setStatus(Status("idle", text))
        else:
            self.setStatus(Status("error", str(error), error.code))

    def _onDataRead(self, answer: tuple) -> None:
        path, data = answer
        if path == self._wanted:  # of two choices in a row only the last counts
            self.data = data

    def _onLaunched(self, folder: Path) -> None:
        self.requestCurve(folder)
        self.setStatus(
            Status("idle", _("{job} was started. It goes on when Slicer is closed.").format(job=folder.name))
        )

    def _onExported(self, reference: str) -> None:
        slicer.util.getModuleLogic("MAEMCNodule").getParameterNode().model = reference
        text = _("MAEMC Nodule now scores with {model}. Research only, not for clinical use.")
        self.setStatus(Status("idle", text.format(model=reference)))

    def _notify(self) -> None:
        if self.onChanged is not None:
            self.onChanged()
