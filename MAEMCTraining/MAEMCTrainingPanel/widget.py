"""The panel: shows what the logic knows, and turns clicks into calls of it. Nothing here takes long."""

from pathlib import Path

import qt
import slicer
import vtk
from MAEMCLib.errors import InputError
from MAEMCNodulePanel.installing import REMEDY_CODES
from MAEMCNodulePanel.panelwidget import PanelWidget
from MAEMCNodulePanel.status import Status
from MAEMCNodulePanel.widgets import enable, showText
from slicer.i18n import tr as _

from . import jobview
from .logic import MAEMCTrainingLogic
from .newtraining import FOLDER_SETTING, NewTraining
from .reductiondialog import ReductionDialog, progressText
from .watching import JobDetails, JobEntry

TYPING_MILLISECONDS = 400
"""A path is read when nothing more has been typed for this long."""


class MAEMCTrainingWidget(PanelWidget):
    """The module's panel. All it does can be done with ``self.logic`` as well.

    What is chosen here is of this machine and this user (paths, a device, jobs) and not of a scene, so it has no
    parameter node: a scene that is passed on tells nobody where one's data lie.
    """

    makeLogic = MAEMCTrainingLogic
    packages = ("MAEMCTrainingPanel", "MAEMCTrainingLib")  # MAEMCLib stays: MAEMC Nodule holds it
    requirements = "training-requirements.txt"
    pollMilliseconds = 100

    def __init__(self, parent=None) -> None:
        PanelWidget.__init__(self, parent)
        self._chosen = False  # whether somebody has selected a job; until then it is the newest
        self.newTraining = None

    # Life of the panel

    def setup(self) -> None:
        PanelWidget.setup(self)
        self._typing = qt.QTimer()
        self._typing.setSingleShot(True)
        self._typing.setInterval(TYPING_MILLISECONDS)
        self._typing.connect("timeout()", self.onDataChosen)
        self.newTraining = NewTraining(self.ui, self.logic)
        self._fillImportMenu()
        self._connect()

    def cleanup(self) -> None:
        self._typing.stop()
        PanelWidget.cleanup(self)

    def enter(self) -> None:
        PanelWidget.enter(self)
        self.newTraining.readModels()
        self._wake()

    def exit(self) -> None:
        PanelWidget.exit(self)
        self.logic.leaveCurve()

    def _connect(self) -> None:
        ui = self.ui
        ui.dataPathEdit.connect("currentPathChanged(QString)", self.onDataTyped)
        ui.startFromSelector.connect("activated(int)", self.onStartFromChosen)
        selectors = [ui.kindSelector, ui.methodSelector, ui.backboneSelector]
        selectors += [ui.targetSelector, ui.presetSelector, ui.protocolSelector]
        for selector in selectors:
            selector.connect("currentIndexChanged(int)", self.refresh)
        for edit in (ui.clinicalEdit, ui.branchesEdit):
            edit.connect("textChanged(QString)", self.refresh)
        ui.weightsPathEdit.connect("currentPathChanged(QString)", self.refresh)
        ui.foldsSpinBox.connect("valueChanged(int)", self.refresh)
        ui.folderPathEdit.connect("currentPathChanged(QString)", self.onFolderChosen)
        ui.startButton.connect("clicked()", self.onStart)
        ui.stopReductionButton.connect("clicked()", self.logic.stopReduction)
        ui.jobsTable.connect("itemSelectionChanged()", self.onJobSelected)
        ui.stopButton.connect("clicked()", self.onStop)
        ui.resumeButton.connect("clicked()", self.onResume)
        ui.curveButton.connect("clicked()", self.onShowCurve)
        ui.openFolderButton.connect("clicked()", self.onOpenFolder)
        ui.modelButton.connect("clicked()", self.onUseModel)
        ui.reportButton.connect("clicked()", self.onOpenReport)

    # What the user does

    def onDataTyped(self, path: str) -> None:
        self._typing.start()

    def onDataChosen(self) -> None:
        self.logic.requestData(self.newTraining.dataPath())

    def onImport(self, kind: str, sourceType: str) -> None:
        with self._errorsInStatusLine():
            if sourceType == "scene":
                source = str(savedScene())
            elif sourceType == "folder":
                source = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Folder to import"))
            else:
                files = _("Slicer scenes (*.mrb *.mrml)") if kind == "scene" else _("Tables (*.csv)")
                source = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), _("File to import"), "", files)
            if source:
                self.logic.requestImport(kind, Path(source), self.onImported)

    def onReduce(self) -> None:
        source = self.logic.data.path
        unfinished = self.logic.unfinishedReductions(source)
        request = ReductionDialog(unfinished, self.ui.deviceSelector.currentData).ask()
        if request is not None:
            with self._errorsInStatusLine():
                self.logic.requestReduction(source, request, self.onImported)

    def onImported(self, manifest: Path) -> None:
        self.ui.dataPathEdit.currentPath = str(manifest)
        self.onDataChosen()

    def onStartFromChosen(self, index: int) -> None:
        self.newTraining.startChosen = True
        self.refresh()

    def onFolderChosen(self, path: str) -> None:
        slicer.app.userSettings().setValue(FOLDER_SETTING, path)
        self.refresh()

    def onStart(self) -> None:
        with self._errorsInStatusLine():
            self.logic.requestStart(self.newTraining.request())
            self._chosen = True
            self.ui.dataPathEdit.addCurrentPathToHistory()
            self.ui.nameEdit.text = ""
            self.ui.newButton.collapsed = True  # from now on the job is what one wants to see

    def _onInstalled(self, code: str) -> None:
        self.logic.statusLine.set(Status())

    def _remedyCode(self) -> str:
        code, problem = self.logic.status.code, self.logic.probe.problem
        return code if code in REMEDY_CODES or problem is None else problem.code

    def onJobSelected(self) -> None:
        row = self.ui.jobsTable.currentRow()
        jobs = self.logic.snapshot.jobs
        if 0 <= row < len(jobs):
            self._chosen = True
            self.logic.requestCurve(jobs[row].folder)
            self.refresh()

    def onStop(self) -> None:
        with self._errorsInStatusLine():
            self.logic.stop(self.logic.selected)
            text = _("{job} stops after its step.").format(job=self.logic.selected.name)
            self.logic.statusLine.set(Status("idle", text))

    def onResume(self) -> None:
        with self._errorsInStatusLine():
            self.logic.requestResume(self.logic.selected)

    def onShowCurve(self) -> None:
        self.logic.requestCurve(self.logic.selected)

    def onOpenFolder(self) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self.logic.selected)))

    def onOpenReport(self) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self.logic.snapshot.details.report)))

    def onUseModel(self) -> None:
        with self._errorsInStatusLine():
            self.logic.requestModel(self.logic.selected)

    # What the jobs do

    def onTimer(self) -> None:
        """Take in what is new and show it; sleeps while the panel is not seen and nothing is awaited."""
        if self.logic.poll(watching=self._entered):
            self.refresh()
        elif self.logic.probe.asking:
            self.ui.deviceStateLabel.text = self.logic.probe.text()
        self.newTraining.fitTexts()
        if not self._entered and not self.logic.isBusy():
            self.timer.stop()

    def _wake(self, *event) -> None:
        PanelWidget._wake(self)
        self.refresh()

    # What is shown

    def refresh(self, *choice) -> None:
        """Bring every part of the panel up to date. choice: a selector's new value, which is read from the selector."""
        snapshot = self.logic.snapshot
        if not self._chosen and snapshot.jobs and snapshot.job(self.logic.selected) is None:
            running = [job for job in snapshot.jobs if job.active]
            self.logic.select((running or snapshot.jobs)[0].folder)
            self.ui.newButton.collapsed = bool(running)
        jobview.fillJobs(self.ui, snapshot.jobs, self.logic.selected)
        job, details = snapshot.job(self.logic.selected), snapshot.details
        if details is None or details.folder != self.logic.selected:  # of another job, until it has been read
            details = JobDetails(self.logic.selected)
        jobview.fillJob(self.ui, job, details)
        self.newTraining.update()
        self._updateStatus()
        self._updateButtons(job, details)

    def _updateStatus(self) -> None:
        ui, status, problem = self.ui, self.logic.status, self.logic.probe.problem
        shown = problem if problem is not None and not status.text else status
        progress = self.logic.reduction
        showText(ui.statusLabel, shown.text if progress is None else progressText(shown.text, progress))
        ui.stopReductionButton.visible = progress is not None
        self._updateInstallButton()

    def _updateButtons(self, job: JobEntry | None, details: JobDetails) -> None:
        ui, data = self.ui, self.logic.data
        self._reduceAction.enabled = data is not None and data.volumes > 0 and data.reduction is None
        if job is None:
            return
        finished, busy = job.status == "finished", self.logic.status.text if self.logic.status.kind == "busy" else ""
        enable(ui.stopButton, "" if job.active else _("It is not running."), _("Finish the step, save and stop."))
        noResume = _("It is finished.") if finished else _("It is running.") if job.active else ""
        enable(ui.resumeButton, noResume or busy, _("Go on where it was stopped."))
        noCurves = "" if details.curves else _("There is no loss yet.")
        enable(ui.curveButton, noCurves, _("Show the loss in a plot view."))
        ui.reportButton.visible = ui.modelButton.visible = job.kind in ("finetune", "fuse")
        noReport = "" if details.report else _("There is no report yet.")
        enable(ui.reportButton, noReport, _("Open the evaluation in the web browser."))
        useModel = _("Export the model, add it to the models of this machine and score with it in MAEMC Nodule.")
        enable(ui.modelButton, busy if finished else _("It is not finished."), useModel)

    def _fillImportMenu(self) -> None:
        menu = qt.QMenu(self.ui.importButton)
        for title, (kind, source) in importers().items():
            action = menu.addAction(title)
            action.connect("triggered()", lambda kind=kind, source=source: self.onImport(kind, source))
        menu.addSeparator()
        self._reduceAction = menu.addAction(_("Leave out similar slices ..."))
        self._reduceAction.toolTip = _(
            "Of each CT or stack, slices that look like others go: faster and better contrastive pre-training; worse "
            "for methods that reconstruct masked parts"
        )
        self._reduceAction.connect("triggered()", self.onReduce)
        menu.toolTipsVisible = True
        self.ui.importButton.setMenu(menu)


def importers() -> dict:
    """{title: (kind of maemc-train import, what is asked for: "scene", "file" or "folder")}, in the menu's order.

    Those that make data to train on: CT series without points are not.
    """
    return {
        _("This scene"): ("scene", "scene"),
        _("Scene file ..."): ("scene", "file"),
        _("Folder of scenes ..."): ("scene", "folder"),
        _("LIDC-IDRI folder ..."): ("lidc", "folder"),
        _("LUNA25 table ..."): ("luna25", "file"),
        _("Folder of 2-D pictures ..."): ("images", "folder"),
    }


def savedScene() -> Path:
    """The file of the present scene. Raises InputError where it has not been saved, or was changed since."""
    path = slicer.mrmlScene.GetURL()
    if not path or not Path(path).is_file():
        raise InputError(_("Save the scene first, with its CTs and point lists (File, Save)."), "scene-not-saved")
    changed = vtk.vtkCollection()
    slicer.mrmlScene.GetStorableNodesModifiedSinceRead(changed)
    if changed.GetNumberOfItems():
        text = _("Save the scene again: {node} has changed since.")
        raise InputError(text.format(node=changed.GetItemAsObject(0).GetName()), "scene-not-saved")
    return Path(path)
