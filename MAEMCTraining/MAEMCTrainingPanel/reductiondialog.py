"""The dialog that asks how similar slices are to be found, and what the panel says while they are."""

from pathlib import Path

import qt
import slicer
from MAEMCNodulePanel.widgets import enable, setValues, showRows
from MAEMCTrainingLib.jobs.progress import duration
from MAEMCTrainingLib.reduction import METHODS
from MAEMCTrainingLib.reduction.deepnet import PAGE
from MAEMCTrainingLib.reduction.selection import LEADER, PAIRWISE
from slicer.i18n import tr as _

from .reducing import ReductionProgress, ReductionRequest

_UI = Path(__file__).resolve().parent.parent / "Resources" / "UI" / "MAEMCTrainingReduction.ui"
_METHODS = ("hash", "ssim", "mi", "deepnet", "every-n")
"""In the order of their selector. Times in their texts: of 300 slices of 512 x 512 on one core."""
_THRESHOLD, _SHARE = "threshold", "share"


class ReductionDialog:
    """Asks once. Taken as it opens, it asks for the paper's best rule, or for what was stopped last.

    unfinished: requests for these data that go on where they were stopped, the last one first. device: for DeepNet.
    """

    def __init__(self, unfinished: list, device: str) -> None:
        self._unfinished, self._device = unfinished, device
        self.dialog = slicer.util.loadUI(str(_UI))
        self.dialog.setParent(slicer.util.mainWindow(), qt.Qt.Dialog)
        self.ui = slicer.util.childWidgetVariables(self.dialog)
        self._texts = [child for child in vars(self.ui).values() if child.inherits("QLabel") and child.wordWrap]
        setValues(self.ui.methodSelector, _METHODS)
        setValues(self.ui.limitSelector, (_THRESHOLD, _SHARE))
        setValues(self.ui.selectionSelector, (LEADER, PAIRWISE))
        text = _(
            'Bring model.safetensors of <a href="{page}">{page}</a> (about 100 MB: a ResNet-50 trained on ImageNet). '
            "Nothing is fetched."
        )
        self.ui.weightsTextLabel.text = text.format(page=PAGE)
        self._show(unfinished[0] if unfinished else ReductionRequest())
        self._connect()
        self.update()

    def ask(self) -> ReductionRequest | None:
        """What was asked for; None where the dialog was closed."""
        accepted = self.dialog.exec_() == qt.QDialog.Accepted
        request = self.request() if accepted else None
        self.dialog.deleteLater()
        return request

    def request(self) -> ReductionRequest:
        """What is chosen; what does not apply is left as it usually is."""
        ui, method = self.ui, self._method
        if method == "every-n":
            return ReductionRequest(method, every=ui.everySpinBox.value)
        if ui.limitSelector.currentData == _SHARE:
            choices = {"share": ui.shareSpinBox.value / 100}
        else:
            choices = {"threshold": ui.thresholdSpinBox.value, "selection": ui.selectionSelector.currentData}
        if method == "deepnet":
            choices |= {"weights": ui.weightsPathEdit.currentPath.strip(), "device": self._device}
        return ReductionRequest(method, **choices)

    def whyNot(self) -> str:
        """Empty where it can be begun."""
        path = self.ui.weightsPathEdit.currentPath.strip()
        if self._method != "deepnet" or Path(path).is_file():
            return ""
        return _("There is no file {path}.").format(path=path) if path else _("Name the file of weights first.")

    def update(self, *choice) -> None:
        """Show what applies to the choices, and say what they mean. choice: a widget's new value, read from there."""
        ui, method = self.ui, self._method
        position, share = method == "every-n", ui.limitSelector.currentData == _SHARE
        threshold, selection = not position and not share, ui.selectionSelector.currentData
        rows = {name: name == method for name in ("hash", "ssim", "mi", "deepnet")}
        rows |= {"every": position, "weights": method == "deepnet", "limit": not position}
        rows |= {"threshold": threshold, "share": not position and share, "selection": threshold}
        showRows(ui, rows | {name: threshold and name == selection for name in (LEADER, PAIRWISE)})
        ui.thresholdTextLabel.text = thresholdText(method, ui.thresholdSpinBox.value)
        ui.unfinishedLabel.visible = self.request() in self._unfinished
        button = ui.buttonBox.button(qt.QDialogButtonBox.Ok)
        enable(button, self.whyNot(), _("Begin; the status line shows how far it is."))
        for label in self._texts:  # their width is fixed, and a form leaves them more height than they need
            label.setFixedHeight(label.heightForWidth(label.minimumWidth))

    @property
    def _method(self) -> str:
        return self.ui.methodSelector.currentData

    def _connect(self) -> None:
        ui = self.ui
        ui.methodSelector.connect("currentIndexChanged(int)", self.onMethod)
        for selector in (ui.limitSelector, ui.selectionSelector):
            selector.connect("currentIndexChanged(int)", self.update)
        for spinBox in (ui.shareSpinBox, ui.everySpinBox):
            spinBox.connect("valueChanged(int)", self.update)
        ui.thresholdSpinBox.connect("valueChanged(double)", self.update)
        ui.weightsPathEdit.connect("currentPathChanged(QString)", self.update)

    def onMethod(self, index: int) -> None:
        self._showLimits(None, None)
        self.update()

    def _show(self, request: ReductionRequest) -> None:
        ui = self.ui
        ui.methodSelector.currentIndex = ui.methodSelector.findData(request.method)
        ui.selectionSelector.currentIndex = ui.selectionSelector.findData(request.selection)
        ui.everySpinBox.value = request.every
        ui.weightsPathEdit.currentPath = request.weights
        self._showLimits(request.threshold, request.share)

    def _showLimits(self, threshold: float | None, share: float | None) -> None:
        """The limits of the method; its own where none are given. The paper has a threshold for one method alone."""
        ui, similarity = self.ui, METHODS[self._method]
        low, high = similarity.range
        usual = similarity.default_threshold
        ui.thresholdSpinBox.decimals = 0 if similarity.whole_numbers else 3
        ui.thresholdSpinBox.singleStep = 1 if similarity.whole_numbers else 0.01
        ui.thresholdSpinBox.minimum, ui.thresholdSpinBox.maximum = low, high
        ui.thresholdSpinBox.value = next(value for value in (threshold, usual, high) if value is not None)
        if share is not None:
            ui.shareSpinBox.value = round(100 * share)
        by_share = share is not None or (threshold is None and usual is None)
        ui.limitSelector.currentIndex = ui.limitSelector.findData(_SHARE if by_share else _THRESHOLD)


def thresholdText(method: str, value: float) -> str:
    """Which slices go with a threshold, and between what it lies."""
    similarity = METHODS[method]
    low, high = similarity.range
    if similarity.is_distance:
        text = _("Removed where at most {value} of {high} bits differ. The paper's best value: {usual}.")
    else:
        text = _(
            "Removed from similarity {value} on ({low} to {high}; equal slices have {high}). The paper gives no value."
        )
    usual = similarity.default_threshold or 0
    return text.format(value=f"{value:g}", low=f"{low:g}", high=f"{high:g}", usual=f"{usual:g}")


def progressText(source: str, progress: ReductionProgress) -> str:
    """ "Comparing the slices of manifest.csv: volume 3 of 60, 4 min left", as far as it is known; source: the first
    part."""
    if not progress.volumes:
        return source
    parts = [_("volume {number} of {all}").format(number=progress.volume, all=progress.volumes)]
    if progress.secondsLeft is not None:
        parts.append(_("{time} left").format(time=duration(progress.secondsLeft)))
    return f"{source} {', '.join(parts)}"
