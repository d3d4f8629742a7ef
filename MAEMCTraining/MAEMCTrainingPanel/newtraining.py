"""The part of the panel in which a job is put together: what can be chosen, what the data say, why it cannot start."""

from pathlib import Path

import qt
import slicer
from MAEMCLib.models.store import list_models
from MAEMCNodulePanel.widgets import enable, setValues, showRows
from MAEMCTrainingLib.pretraining.registry import METHODS
from slicer.i18n import tr as _

from . import choices, fusing, methods
from .dataset import NODULE, countsText, metadataText, warningsText
from .request import IMAGENET, SCRATCH, JobRequest, jobsFolder, missingWeights, proposedFolder

SKIPPED_SHOWN = 30
"""Lines of a tooltip."""
FOLDER_SETTING = "MAEMC/JobsFolder"
_HEADING = "# "
"""Begins the data of an item that is a heading."""


class NewTraining:
    """Fills the selectors, and reads them."""

    def __init__(self, ui, logic) -> None:
        self._ui = ui
        self._logic = logic
        self.startChosen = False  # whether somebody has said what to start from; until then the newest pre-training
        self._models: list = []  # that can be tuned further, as they were when the module was entered
        self._fitted: dict = {}  # {label: (text, width) that its height is of}
        setValues(ui.protocolSelector, choices.protocols())
        for index, sentence in enumerate(choices.protocols().values()):
            ui.protocolSelector.setItemData(index, sentence, qt.Qt.ToolTipRole)
        ui.folderPathEdit.currentPath = str(slicer.app.userSettings().value(FOLDER_SETTING, "") or jobsFolder())

    @property
    def kind(self) -> str:
        """ "pretrain", "finetune" or "fuse"."""
        return self._ui.kindSelector.currentData

    @property
    def method(self) -> str:
        """Name of the chosen pre-training method."""
        return self._ui.methodSelector.currentData

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
            method=self.method,
            backbone=ui.backboneSelector.currentData if self._backbones() else "",
            startFrom=ui.startFromSelector.currentData,
            weights=ui.weightsPathEdit.currentPath.strip(),
            preset=ui.presetSelector.currentData,
            device=ui.deviceSelector.currentData,
            folds=ui.foldsSpinBox.value,
            protocol=ui.protocolSelector.currentData,
            linearProbe=ui.linearProbeCheckBox.checked,
            target=ui.targetSelector.currentData or "label",
            clinical=",".join(fusing.words(ui.clinicalEdit.text)),
            branches=",".join(fusing.words(ui.branchesEdit.text)) or ui.branchesEdit.placeholderText,
            settings=ui.settingsEdit.text,
        )

    def whyNotStart(self) -> str:
        """Empty where a job can be started."""
        ui, data, problem = self._ui, self._logic.data, self._logic.probe.problem
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
        if self.kind == "fuse":
            typed = (ui.targetSelector.currentData, ui.clinicalEdit.text, ui.branchesEdit.text)
            if reason := fusing.problem(data, *typed):
                return reason
        if self._fromImageNet():
            return missingWeights(self._ui.backboneSelector.currentData, self._ui.weightsPathEdit.currentPath.strip())
        return ""

    def update(self) -> None:
        """Bring the selectors and texts up to date with the data, the jobs and each other."""
        ui = self._ui
        self._fillKinds()
        self._fillMethods()
        self._fillStartFrom()
        self._fillBackbones()
        self._fillPresets()
        finetuning, fusion = self.kind != "pretrain", self.kind == "fuse"
        rows = {"method": not finetuning, "startFrom": finetuning, "weights": self._fromImageNet()}
        showRows(ui, rows | dict.fromkeys(("target", "clinical", "branches", "fusion"), fusion))
        if fusion:
            _setItems(ui.targetSelector, fusing.targets(self._logic.data))
            ui.fusionTextLabel.text = fusing.description(self._logic.data)
        if self._fromImageNet():
            ui.weightsTextLabel.text = methods.imagenetText(ui.backboneSelector.currentData)
        ui.foldsSpinBox.enabled = ui.protocolSelector.enabled = finetuning
        ui.linearProbeCheckBox.enabled = self.kind == "finetune"
        ui.countsLabel.text = self._countsText(finetuning)
        ui.countsLabel.toolTip = "\n".join(self._logic.skipped[:SKIPPED_SHOWN]) or _("What the data hold.")
        warning = methods.reductionText(self.method, self._logic.data)
        ui.methodTextLabel.text = methods.description(self.method) + (f"<br><b>{warning}</b>" if warning else "")
        ui.sentenceLabel.text = self._sentence(finetuning)
        ui.importButton.enabled = self._logic.status.kind != "busy"
        enable(ui.startButton, self.whyNotStart(), _("Start the job; it goes on when Slicer is closed."))
        ui.deviceStateLabel.text = self._logic.probe.text()
        proposed = proposedFolder(self.kind, self.method, ui.presetSelector.currentData, self._parentFolder())
        ui.nameEdit.placeholderText = proposed.name

    def fitTexts(self) -> None:
        """Give the wrapped texts the height that they need: the folding part around them does not ask them itself."""
        ui = self._ui
        for label in (ui.countsLabel, ui.methodTextLabel, ui.fusionTextLabel, ui.weightsTextLabel, ui.sentenceLabel):
            shown = (label.text, label.width)
            if label.visible and self._fitted.get(label.objectName) != shown:
                self._fitted[label.objectName] = shown
                label.setMinimumHeight(0)  # or it would not ask for less than it has
                label.setFixedHeight(label.heightForWidth(label.width))

    def _fillPresets(self) -> None:
        """The presets of what is to be done."""
        presets = choices.presets(self.kind != "pretrain", self._published())
        names = [name for name in presets if self.kind != "fuse" or name in ("tiny", "default")]  # its paper has none
        _setItems(self._ui.presetSelector, {name: presets[name][0] for name in names})

    def _published(self) -> bool:
        """Whether it is about MAEMC-NET on nodules in CT."""
        data = self._logic.data
        if self.kind == "pretrain":
            return self.method.startswith("maemc")
        return self.kind == "finetune" and not self._fromImageNet() and (data is None or data.input == NODULE)

    def _fillKinds(self) -> None:
        """Fine-tuning is offered unless the data are known to lack a class, fusion where they have what it needs."""
        data = self._logic.data
        kinds = {"pretrain": _("Pre-train"), "finetune": _("Fine-tune and evaluate")}
        if data is not None and not data.problem and not data.evaluable:
            del kinds["finetune"]
        if fusing.isFusible(data):
            kinds["fuse"] = _("Fuse images with clinical values")
        _setItems(self._ui.kindSelector, kinds)

    def _fillMethods(self) -> None:
        """The methods that fit the data, under headings that say what somebody has who can use them."""
        selector, groups = self._ui.methodSelector, methods.groups(self._logic.data)
        items: dict = {}
        for heading, names in groups.items():
            items[_HEADING + heading] = heading
            items |= {name: METHODS[name].title for name in names}
        if not _setItems(selector, items):
            return
        for index in range(selector.count):
            if selector.itemData(index).startswith(_HEADING):
                item = selector.model().item(index)
                item.setEnabled(False)
                font = qt.QFont(selector.font)
                font.setBold(True)
                item.setFont(font)
        if self.method.startswith(_HEADING):  # what was chosen does not fit any more
            blocked = selector.blockSignals(True)
            selector.currentIndex = 1
            selector.blockSignals(blocked)

    def _fromImageNet(self) -> bool:
        return self.kind != "pretrain" and self._ui.startFromSelector.currentData == IMAGENET

    def _backbones(self) -> tuple:
        """The encoders that can be chosen for what is to be done."""
        if self.kind == "pretrain":
            return methods.backbones(self.method)
        if self._fromImageNet():
            return methods.IMAGENET_BACKBONES
        return methods.ANY_BACKBONE if self._ui.startFromSelector.currentData == SCRATCH else ()

    def _fillBackbones(self) -> None:
        ui, names = self._ui, self._backbones()
        usual = {"": _("The usual one") if names else _("That of what it starts from")}
        if self._fromImageNet():  # each has a file of its own, so it is named
            usual = {}
        _setItems(ui.backboneSelector, usual | {name: name for name in names})
        given = "" if names else _("It comes from what the training starts from.")
        enable(ui.backboneSelector, given, _("The network that is trained; a large one needs a GPU."))

    def _fillStartFrom(self) -> None:
        data = self._logic.data
        kind = data.input if data is not None and not data.problem else None
        jobs = [job for job in self._logic.snapshot.jobs if job.kind == "pretrain" and job.status == "finished"]
        # An encoder goes on seeing the kind of picture that it has learned from.
        jobs = [job for job in jobs if kind is None or job.input in (None, kind)]
        items = {str(job.folder): job.folder.name for job in jobs}
        items |= {SCRATCH: _("Random weights"), IMAGENET: _("ImageNet weights ...")}
        models = [model for model in self._models if kind in (None, model.card.input)]
        text = _("Model {title} {version}")
        items |= {str(m.path): text.format(title=m.card.title, version=m.card.version) for m in models}
        _setItems(self._ui.startFromSelector, items)
        if not self.startChosen:
            self._ui.startFromSelector.currentIndex = 0

    def readModels(self) -> None:
        """Look for the models that are installed now. Those of fusion have several encoders and are left out."""
        self._models = [model for model in list_models() if model.card is not None and model.card.fusion != "graph"]

    def _countsText(self, finetuning: bool) -> str:
        data = self._logic.data
        if data is None and self.dataPath() is not None:
            return _("Reading ...")
        if data is None:
            return _(
                "A manifest lists nodules (case_id, patient_id, image, l_mm, p_mm, s_mm) or 2-D pictures (kind image "
                "or slice) and, if known, label, modality and anatomy."
            )
        if data.problem:
            return data.problem
        texts = [countsText(data), metadataText(data), warningsText(data, finetuning, self._ui.foldsSpinBox.value)]
        return "\n".join(text for text in texts if text)

    def _sentence(self, finetuning: bool) -> str:
        ui = self._ui
        _title, preset = choices.presets(finetuning, self._published())[ui.presetSelector.currentData]
        if not finetuning or ui.startFromSelector.currentData in (SCRATCH, IMAGENET):
            return preset
        if ui.startFromSelector.currentData in [str(model.path) for model in self._models]:
            known = _(
                "A model does not say whom it has learned from: whether it has seen these patients is yours to know."
            )
            return f"{known} {preset}"
        return f"{choices.protocols()[ui.protocolSelector.currentData]} {preset}"

    def _parentFolder(self) -> Path:
        return Path(self._ui.folderPathEdit.currentPath.strip() or jobsFolder())


def _setItems(selector, items: dict) -> bool:
    """{data: text} into a selector; what was chosen stays chosen. False where they are there already."""
    if [(selector.itemData(index), selector.itemText(index)) for index in range(selector.count)] == list(items.items()):
        return False
    current = selector.currentData
    blocked = selector.blockSignals(True)
    selector.clear()
    for data, text in items.items():
        selector.addItem(text, data)
    selector.currentIndex = max(selector.findData(current), 0) if current is not None else 0
    selector.blockSignals(blocked)
    return True
