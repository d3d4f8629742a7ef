"""The panel: shows what the logic knows, and turns clicks into calls of it. Nothing here takes long."""

import contextlib
import sys
from pathlib import Path

import qt
import slicer
from MAEMCLib.errors import MAEMCError
from MAEMCNodulePanel.installing import PACKAGE_CODES, TORCH_CODES, installRequirements, installTorch
from MAEMCNodulePanel.status import Status
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget

from . import choices, importing, jobview
from .dataset import countsText, warningsText
from .folders import jobsFolder, proposedFolder
from .logic import MAEMCTrainingLogic
from .request import SCRATCH, JobRequest

POLL_MILLISECONDS = 100
TYPING_MILLISECONDS = 400
"""A path is read when nothing more has been typed for this long."""
SKIPPED_SHOWN = 30
"""Lines of a tooltip."""
_DEVICE_SETTING = "MAEMC/Device"  # shared with MAEMC Nodule
_FOLDER_SETTING = "MAEMC/JobsFolder"


class MAEMCTrainingWidget(ScriptedLoadableModuleWidget):
    """The module's panel. All it does can be done with ``self.logic`` as well.

    What is chosen here is of this machine and this user (paths, a device, jobs) and not of a scene, so it has no
    parameter node: a scene that is passed on tells nobody where one's data lie.
    """

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        self.logic = None
        self._deviceAsked = False
        self._entered = False
        self._chosen = False  # whether somebody has selected a job; until then it is the newest
        self._startChosen = False  # whether somebody has said what to start from; until then the newest pre-training

    # Life of the panel

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/MAEMCTraining.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = MAEMCTrainingLogic()
        self.logic.onChanged = self._wake
        self.timer = qt.QTimer()
        self.timer.setInterval(POLL_MILLISECONDS)
        self.timer.connect("timeout()", self.onTimer)
        self._typing = qt.QTimer()
        self._typing.setSingleShot(True)
        self._typing.setInterval(TYPING_MILLISECONDS)
        self._typing.connect("timeout()", self.onDataChosen)
        header = self.ui.jobsTable.horizontalHeader()
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        self._fillChoices()
        self._fillImportMenu()
        self._connect()

    def cleanup(self) -> None:
        self.timer.stop()
        self._typing.stop()
        self.logic.cleanup()

    def enter(self) -> None:
        self._entered = True
        if not self._deviceAsked:
            self._deviceAsked = True
            self.logic.requestDevice()
        self._proposeName()
        self.refresh()
        self._wake()

    def exit(self) -> None:
        self._entered = False
        self.logic.leaveCurve()

    def onReload(self) -> None:
        # Slicer runs the module file anew but takes its imports from the cache. MAEMCLib stays: MAEMC Nodule holds it.
        for name in list(sys.modules):
            if name.split(".")[0] in ("MAEMCTrainingPanel", "MAEMCTrainingLib"):
                del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def _connect(self) -> None:
        ui = self.ui
        ui.dataPathEdit.connect("currentPathChanged(QString)", self.onDataTyped)
        ui.kindSelector.connect("currentIndexChanged(int)", self.onKindChosen)
        ui.methodSelector.connect("currentIndexChanged(int)", self.onChoice)
        ui.startFromSelector.connect("activated(int)", self.onStartFromChosen)
        ui.presetSelector.connect("currentIndexChanged(int)", self.onPresetChosen)
        ui.protocolSelector.connect("currentIndexChanged(int)", self.onChoice)
        ui.foldsSpinBox.connect("valueChanged(int)", self.onChoice)
        ui.deviceSelector.connect("activated(int)", self.onDeviceSelected)
        ui.folderPathEdit.connect("currentPathChanged(QString)", self.onFolderChosen)
        ui.startButton.connect("clicked()", self.onStart)
        ui.installButton.connect("clicked()", self.onInstall)
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
        path = self.ui.dataPathEdit.currentPath.strip()
        self.logic.requestData(Path(path) if path else None)

    def onImport(self, kind: str, asked: str) -> None:
        with self._errorsInStatusLine():
            if asked == "scene":
                source = str(importing.savedScene())
            elif asked == "folder":
                source = qt.QFileDialog.getExistingDirectory(None, _("Folder to import"))
            else:
                files = _("Slicer scenes (*.mrb *.mrml)") if kind == "scene" else _("Tables (*.csv)")
                source = qt.QFileDialog.getOpenFileName(None, _("File to import"), "", files)
            if source:
                self.logic.requestImport(kind, Path(source), self.onImported)

    def onImported(self, manifest: Path) -> None:
        self.ui.dataPathEdit.currentPath = str(manifest)
        self.onDataChosen()

    def onKindChosen(self, index: int) -> None:
        self._fillPresets()
        self._proposeName()
        self.refresh()

    def onPresetChosen(self, index: int) -> None:
        self._proposeName()
        self.refresh()

    def onStartFromChosen(self, index: int) -> None:
        self._startChosen = True
        self.refresh()

    def onChoice(self, value: int) -> None:
        self.refresh()

    def onDeviceSelected(self, index: int) -> None:
        slicer.app.userSettings().setValue(_DEVICE_SETTING, self.ui.deviceSelector.itemData(index))

    def onFolderChosen(self, path: str) -> None:
        slicer.app.userSettings().setValue(_FOLDER_SETTING, path)
        self._proposeName()

    def onStart(self) -> None:
        ui = self.ui
        with self._errorsInStatusLine():
            name = ui.nameEdit.text.strip() or ui.nameEdit.placeholderText
            request = JobRequest(
                kind=self._kind(),
                data=self.logic.data.path,
                folder=self._parentFolder() / name,
                method=ui.methodSelector.currentData,
                startFrom=ui.startFromSelector.currentData,
                preset=ui.presetSelector.currentData,
                device=ui.deviceSelector.currentData,
                folds=ui.foldsSpinBox.value,
                protocol=ui.protocolSelector.currentData,
                linearProbe=ui.linearProbeCheckBox.checked,
                settings=ui.settingsEdit.text,
            )
            self._chosen = True
            self.logic.requestStart(request)
            ui.dataPathEdit.addCurrentPathToHistory()
            ui.nameEdit.text = ""
            ui.newButton.collapsed = True  # from now on the job is what one wants to see

    def onInstall(self) -> None:
        with self._errorsInStatusLine():
            problem = self._problem()
            if problem is not None and problem.code in TORCH_CODES and not installTorch():
                return
            installRequirements(self.resourcePath("training-requirements.txt"))
            self.logic.setStatus(Status())
            self.logic.requestDevice()

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
            self.logic.setStatus(Status("idle", text))

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
        self._fitTexts()
        if not self._entered and not self.logic.isBusy():
            self.timer.stop()

    def _wake(self) -> None:
        if not self.timer.active:
            self.timer.start()
        self.refresh()

    # What is shown

    def refresh(self) -> None:
        """Bring every part of the panel up to date."""
        snapshot = self.logic.snapshot
        if not self._chosen and snapshot.jobs and snapshot.job(self.logic.selected) is None:
            running = [job for job in snapshot.jobs if job.active]
            self.logic.select((running or snapshot.jobs)[0].folder)
        jobview.fillTable(self.ui, snapshot.jobs, self.logic.selected)
        jobview.fillJob(self.ui, snapshot.job(self.logic.selected), snapshot.details)
        self._fillKinds()
        self._fillStartFrom()
        self._updateNewTraining()
        self._updateStatus()
        self._updateButtons()

    def _updateNewTraining(self) -> None:
        ui, data = self.ui, self.logic.data
        finetuning = self._kind() == "finetune"
        if data is None:
            reading = bool(ui.dataPathEdit.currentPath.strip())
            ui.countsLabel.text = (
                _("Reading ...")
                if reading
                else _(
                    "A manifest lists the nodules: case_id, patient_id, image, l_mm, p_mm, s_mm and, if known, label."
                )
            )
        elif data.problem:
            ui.countsLabel.text = data.problem
        else:
            ui.countsLabel.text = "\n".join(
                filter(None, [countsText(data), warningsText(data, finetuning, ui.foldsSpinBox.value)])
            )
        ui.countsLabel.toolTip = "\n".join(self.logic.skipped[:SKIPPED_SHOWN]) or _("What the data hold.")
        for name in ("methodLabel", "methodSelector"):
            getattr(ui, name).visible = not finetuning
        for name in ("startFromLabel", "startFromSelector"):
            getattr(ui, name).visible = finetuning
        for name in ("foldsSpinBox", "protocolSelector", "linearProbeCheckBox"):
            getattr(ui, name).enabled = finetuning
        _title, preset = choices.presets(finetuning)[ui.presetSelector.currentData]
        if finetuning:
            scratch = ui.startFromSelector.currentData == SCRATCH
            first = "" if scratch else choices.protocols()[ui.protocolSelector.currentData][1]
        else:
            _title, first = choices.methods()[ui.methodSelector.currentData]
        ui.sentenceLabel.text = f"{first} {preset}".strip()

    def _fitTexts(self) -> None:
        """Give wrapped texts inside the folding part the height that they need: it does not ask them itself."""
        for label in (self.ui.countsLabel, self.ui.sentenceLabel):
            height = label.heightForWidth(label.width)
            if label.visible and label.minimumHeight != height:
                label.setMinimumHeight(height)

    def _updateStatus(self) -> None:
        ui, status, problem = self.ui, self.logic.status, self._problem()
        shown = problem if problem is not None and status.kind != "error" else status
        ui.statusLabel.text = shown.text
        ui.statusLabel.visible = bool(shown.text)
        ui.installButton.visible = shown.code in TORCH_CODES + PACKAGE_CODES
        ui.deviceStateLabel.text = self.logic.probe.text()

    def _updateButtons(self) -> None:
        ui, job = self.ui, self.logic.snapshot.job(self.logic.selected)
        reason = self._whyNotStart()
        ui.importButton.enabled = self.logic.status.kind != "busy"
        ui.startButton.enabled = not reason
        ui.startButton.toolTip = reason or _("Start the job; it goes on when Slicer is closed.")
        if job is None:
            return
        finished, busy = job.status == "finished", self.logic.status.kind == "busy"
        ui.stopButton.enabled = job.active
        ui.stopButton.toolTip = _("Finish the step, save and stop.") if job.active else _("It is not running.")
        ui.resumeButton.enabled = not job.active and not finished and not busy
        ui.resumeButton.toolTip = (
            _("It is finished.")
            if finished
            else _("It is running.")
            if job.active
            else _("Go on where it was stopped.")
        )
        details = self.logic.snapshot.details
        known = details is not None and details.folder == job.folder
        curves, report = known and bool(details.curves), known and details.report is not None
        ui.curveButton.enabled = curves
        ui.curveButton.toolTip = _("Show the loss in a plot view.") if curves else _("There is no loss yet.")
        ui.reportButton.visible = ui.modelButton.visible = job.kind == "finetune"
        ui.reportButton.enabled = report
        ui.reportButton.toolTip = (
            _("Open the evaluation in the web browser.") if report else _("There is no report yet.")
        )
        ui.modelButton.enabled = finished and not busy
        ui.modelButton.toolTip = (
            _("Export the model, add it to the models of this machine and score with it in MAEMC Nodule.")
            if finished
            else _("The fine-tuning is not finished.")
        )

    def _whyNotStart(self) -> str:
        """Empty where a job can be started."""
        data = self.logic.data
        if self.logic.status.kind == "busy":
            return self.logic.status.text
        if self._problem() is not None:
            return self._problem().text
        if data is None:
            chosen = bool(self.ui.dataPathEdit.currentPath.strip())
            return _("The data are being read.") if chosen else _("Choose data first.")
        if data.problem:
            return data.problem
        if self._kind() == "finetune" and min(data.benign, data.malignant) < self.ui.foldsSpinBox.value:
            return warningsText(data, True, self.ui.foldsSpinBox.value)
        return ""

    def _problem(self):
        """Why nothing can be trained on this machine (Status), or None."""
        return self.logic.probe.problem

    def _kind(self) -> str:
        return self.ui.kindSelector.currentData

    def _parentFolder(self) -> Path:
        return Path(self.ui.folderPathEdit.currentPath.strip() or jobsFolder())

    def _proposeName(self) -> None:
        ui = self.ui
        ui.nameEdit.placeholderText = proposedFolder(
            self._kind(), ui.presetSelector.currentData, self._parentFolder()
        ).name

    # Filling the selectors

    def _fillChoices(self) -> None:
        ui, settings = self.ui, slicer.app.userSettings()
        self._fillKinds()
        for name, (title, _sentence) in choices.methods().items():
            ui.methodSelector.addItem(title, name)
        self._fillPresets()
        for value, title in choices.devices().items():
            ui.deviceSelector.addItem(title, value)
        ui.deviceSelector.currentIndex = max(ui.deviceSelector.findData(settings.value(_DEVICE_SETTING, "auto")), 0)
        for value, (title, sentence) in choices.protocols().items():
            ui.protocolSelector.addItem(title, value)
            ui.protocolSelector.setItemData(ui.protocolSelector.count - 1, sentence, qt.Qt.ToolTipRole)
        self._fillStartFrom()
        ui.folderPathEdit.currentPath = str(settings.value(_FOLDER_SETTING, "") or jobsFolder())

    def _fillImportMenu(self) -> None:
        menu = qt.QMenu(self.ui.importButton)
        for title, (kind, asked) in importing.importers().items():
            action = menu.addAction(title)
            action.connect("triggered()", lambda kind=kind, asked=asked: self.onImport(kind, asked))
        self.ui.importButton.setMenu(menu)

    def _fillKinds(self) -> None:
        """Fine-tuning is offered unless the data are known to lack a class."""
        data = self.logic.data
        kinds = {"pretrain": _("Pre-train"), "finetune": _("Fine-tune and evaluate")}
        if data is not None and not data.problem and not data.evaluable:
            del kinds["finetune"]
        self._setItems(self.ui.kindSelector, kinds)

    def _fillPresets(self) -> None:
        titles = {name: title for name, (title, _sentence) in choices.presets(self._kind() == "finetune").items()}
        self._setItems(self.ui.presetSelector, titles)

    def _fillStartFrom(self) -> None:
        jobs = [job for job in self.logic.snapshot.jobs if job.kind == "pretrain" and job.status == "finished"]
        items = {str(job.folder): job.folder.name for job in jobs}
        items[SCRATCH] = _("Random weights")
        self._setItems(self.ui.startFromSelector, items)
        if not self._startChosen:
            self.ui.startFromSelector.currentIndex = 0

    def _setItems(self, selector, items: dict) -> None:
        """{data: text} into a selector, where they are not there already; what was chosen stays chosen."""
        before = [(selector.itemData(index), selector.itemText(index)) for index in range(selector.count)]
        if before == list(items.items()):
            return
        current = selector.currentData
        blocked = selector.blockSignals(True)
        selector.clear()
        for data, text in items.items():
            selector.addItem(text, data)
        selector.currentIndex = max(selector.findData(current), 0) if current is not None else 0
        selector.blockSignals(blocked)

    @contextlib.contextmanager
    def _errorsInStatusLine(self):
        try:
            yield
        except MAEMCError as error:
            self.logic.setStatus(Status("error", str(error), error.code))
