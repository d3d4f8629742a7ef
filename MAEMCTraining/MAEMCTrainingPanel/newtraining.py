"""The part of the panel in which a job is put together: what can be chosen, what the data say, why it cannot start."""

from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from . import choices
from .dataset import countsText, warningsText
from .folders import jobsFolder, proposedFolder
from .request import SCRATCH, JobRequest

SKIPPED_SHOWN = 30
"""Lines of a tooltip."""
DEVICE_SETTING = "MAEMC/Device"  # shared with MAEMC Nodule
FOLDER_SETTING = "MAEMC/JobsFolder"


class NewTraining:
    """Fills the selectors, and reads them."""

    def __init__(self, ui, logic) -> None:
        self._ui = ui
        self._logic = logic
        self.startChosen = False  # whether somebody has said what to start from; until then the newest pre-training
        settings = slicer.app.userSettings()
        self._fillKinds()
        for name, (title, _sentence) in choices.methods().items():
            ui.methodSelector.addItem(title, name)
        self.fillPresets()
        for value, title in choices.devices().items():
            ui.deviceSelector.addItem(title, value)
        ui.deviceSelector.currentIndex = max(ui.deviceSelector.findData(settings.value(DEVICE_SETTING, "auto")), 0)
        for value, (title, sentence) in choices.protocols().items():
            ui.protocolSelector.addItem(title, value)
            ui.protocolSelector.setItemData(ui.protocolSelector.count - 1, sentence, qt.Qt.ToolTipRole)
        self._fillStartFrom()
        ui.folderPathEdit.currentPath = str(settings.value(FOLDER_SETTING, "") or jobsFolder())

    @property
    def kind(self) -> str:
        """ "pretrain" or "finetune"."""
        return self._ui.kindSelector.currentData

    def dataPath(self):
        """The path that was typed or chosen, or None."""
        text = self._ui.dataPathEdit.currentPath.strip()
        return Path(text) if text else None

    def request(self) -> JobRequest:
        """What is to be started."""
        ui = self._ui
        return JobRequest(
            kind=self.kind,
            data=self._logic.data.path,
            folder=self._parentFolder() / (ui.nameEdit.text.strip() or ui.nameEdit.placeholderText),
            method=ui.methodSelector.currentData,
            startFrom=ui.startFromSelector.currentData,
            preset=ui.presetSelector.currentData,
            device=ui.deviceSelector.currentData,
            folds=ui.foldsSpinBox.value,
            protocol=ui.protocolSelector.currentData,
            linearProbe=ui.linearProbeCheckBox.checked,
            settings=ui.settingsEdit.text,
        )

    def whyNotStart(self) -> str:
        """Empty where a job can be started."""
        data, problem = self._logic.data, self._logic.probe.problem
        if self._logic.status.kind == "busy":
            return self._logic.status.text
        if problem is not None:
            return problem.text
        if data is None:
            return _("Choose data first.") if self.dataPath() is None else _("The data are being read.")
        if data.problem:
            return data.problem
        if self.kind == "finetune" and min(data.benign, data.malignant) < self._ui.foldsSpinBox.value:
            return warningsText(data, True, self._ui.foldsSpinBox.value)
        return ""

    def update(self) -> None:
        """Bring the selectors and texts up to date with the data, the jobs and each other."""
        ui = self._ui
        self._fillKinds()
        self._fillStartFrom()
        finetuning = self.kind == "finetune"
        for name in ("methodLabel", "methodSelector"):
            getattr(ui, name).visible = not finetuning
        for name in ("startFromLabel", "startFromSelector"):
            getattr(ui, name).visible = finetuning
        for name in ("foldsSpinBox", "protocolSelector", "linearProbeCheckBox"):
            getattr(ui, name).enabled = finetuning
        ui.countsLabel.text = self._countsText(finetuning)
        ui.countsLabel.toolTip = "\n".join(self._logic.skipped[:SKIPPED_SHOWN]) or _("What the data hold.")
        ui.sentenceLabel.text = self._sentence(finetuning)
        reason = self.whyNotStart()
        ui.importButton.enabled = self._logic.status.kind != "busy"
        ui.startButton.enabled = not reason
        ui.startButton.toolTip = reason or _("Start the job; it goes on when Slicer is closed.")
        ui.deviceStateLabel.text = self._logic.probe.text()

    def fitTexts(self) -> None:
        """Give the wrapped texts the height that they need: the folding part around them does not ask them itself."""
        for label in (self._ui.countsLabel, self._ui.sentenceLabel):
            height = label.heightForWidth(label.width)
            if label.visible and label.minimumHeight != height:
                label.setMinimumHeight(height)

    def proposeName(self) -> None:
        """Show the name that a job gets unless somebody types one."""
        folder = proposedFolder(self.kind, self._ui.presetSelector.currentData, self._parentFolder())
        self._ui.nameEdit.placeholderText = folder.name

    def fillPresets(self) -> None:
        """The presets of what is to be done."""
        titles = {name: title for name, (title, _sentence) in choices.presets(self.kind == "finetune").items()}
        _setItems(self._ui.presetSelector, titles)

    def _fillKinds(self) -> None:
        """Fine-tuning is offered unless the data are known to lack a class."""
        data = self._logic.data
        kinds = {"pretrain": _("Pre-train"), "finetune": _("Fine-tune and evaluate")}
        if data is not None and not data.problem and not data.evaluable:
            del kinds["finetune"]
        _setItems(self._ui.kindSelector, kinds)

    def _fillStartFrom(self) -> None:
        jobs = [job for job in self._logic.snapshot.jobs if job.kind == "pretrain" and job.status == "finished"]
        items = {str(job.folder): job.folder.name for job in jobs}
        items[SCRATCH] = _("Random weights")
        _setItems(self._ui.startFromSelector, items)
        if not self.startChosen:
            self._ui.startFromSelector.currentIndex = 0

    def _countsText(self, finetuning: bool) -> str:
        data = self._logic.data
        if data is None and self.dataPath() is not None:
            return _("Reading ...")
        if data is None:
            return _("A manifest lists the nodules: case_id, patient_id, image, l_mm, p_mm, s_mm and, if known, label.")
        if data.problem:
            return data.problem
        texts = [countsText(data), warningsText(data, finetuning, self._ui.foldsSpinBox.value)]
        return "\n".join(text for text in texts if text)

    def _sentence(self, finetuning: bool) -> str:
        ui = self._ui
        _title, preset = choices.presets(finetuning)[ui.presetSelector.currentData]
        if not finetuning:
            _title, first = choices.methods()[ui.methodSelector.currentData]
        elif ui.startFromSelector.currentData == SCRATCH:
            first = ""
        else:
            _title, first = choices.protocols()[ui.protocolSelector.currentData]
        return f"{first} {preset}".strip()

    def _parentFolder(self) -> Path:
        return Path(self._ui.folderPathEdit.currentPath.strip() or jobsFolder())


def _setItems(selector, items: dict) -> None:
    """{data: text} into a selector, where they are not there already; what was chosen stays chosen."""
    if [(selector.itemData(index), selector.itemText(index)) for index in range(selector.count)] == list(items.items()):
        return
    current = selector.currentData
    blocked = selector.blockSignals(True)
    selector.clear()
    for data, text in items.items():
        selector.addItem(text, data)
    selector.currentIndex = max(selector.findData(current), 0) if current is not None else 0
    selector.blockSignals(blocked)
