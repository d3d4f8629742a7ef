"""The window in which results leave: what, with which names, where to; and why something cannot."""

from pathlib import Path

import qt
import slicer
from MAEMCLib.errors import MAEMCError
from slicer.i18n import tr as _

from .exporting import dicomRequest, exportTables, sentenceOf, whyNoDicom
from .modelchoice import modelBehind
from .reportexport import ReportExport
from .reviewstate import reviewOf
from .widgets import enable, showText

_UI = Path(__file__).resolve().parent.parent / "Resources" / "UI" / "MAEMCNoduleExport.ui"
_FOLDER = "MAEMC/ExportFolder"
"""Setting: where results went last."""


class ExportDialog:
    """Opened beside the panel, and follows the nodule that is selected there. logic: the module's."""

    def __init__(self, logic) -> None:
        self._logic = logic
        self._about: tuple = (None, "")
        self._written: list = []
        self._failed: list = []
        self._awaited: list = []
        self._shown: tuple = ()
        self.dialog = self.ui = None

    def open(self, analysis, pointID: str) -> None:
        """Show it for a nodule."""
        if self.dialog is None:
            self._make()
        self.ui.folderButton.directory = slicer.app.userSettings().value(_FOLDER, str(Path.home()))
        showText(self.ui.exportStatusLabel, "")
        self.dialog.show()
        self._shown = ()
        self.show(analysis, pointID)
        self.dialog.raise_()

    def close(self) -> None:
        """Away with it, as when the module is unloaded."""
        if self.dialog is not None:
            self.dialog.close()
            self.dialog.deleteLater()
            self.dialog = self.ui = None

    def _make(self) -> None:
        self.dialog = slicer.util.loadUI(str(_UI))
        self.dialog.setParent(slicer.util.mainWindow(), qt.Qt.Dialog)
        self.ui = slicer.util.childWidgetVariables(self.dialog)
        self.ui.writeButton.connect("clicked()", self.onWrite)
        self.ui.copyExportSentenceButton.connect("clicked()", self._onCopy)
        self.ui.closeButton.connect("clicked()", self.dialog.hide)
        for box in self._boxes().values():
            box.connect("toggled(bool)", self._update)

    def _boxes(self) -> dict:
        names = ("tables", "report", "dicom")
        return {name: getattr(self.ui, f"{name}CheckBox") for name in names}

    # What the user does

    def onWrite(self) -> None:
        """Write all that is ticked; what fails says why, and the rest is written all the same."""
        folder, (analysis, pointID) = self.ui.folderButton.directory, self._about
        slicer.app.userSettings().setValue(_FOLDER, folder)
        self._written, self._failed, self._awaited = [], [], []
        ticked = [name for name, box in self._boxes().items() if box.checked and box.enabled]
        showText(self.ui.exportStatusLabel, _("Writing ..."))
        if "tables" in ticked:
            self._try(self._writeTables, analysis, folder)
        if "report" in ticked:
            self._try(self._writeReport, analysis, pointID, folder)
        if "dicom" in ticked:
            self._try(self._writeDicom, analysis, pointID, folder)
        self._report()

    def _onCopy(self) -> None:
        qt.QApplication.clipboard().setText(self.ui.exportSentenceLabel.text)

    def _try(self, write, *arguments) -> None:
        try:
            write(*arguments)
        except MAEMCError as error:
            self._failed.append(str(error))

    def _writeTables(self, analysis, folder: str) -> None:
        card, device = self._logic.chosenModel().card, self._logic.device.get("name")
        self._written += [
            path.name for path in exportTables(analysis, folder, card, device, self.ui.namesCheckBox.checked)
        ]

    def _writeReport(self, analysis, pointID: str, folder: str) -> None:
        model = modelBehind(analysis.record(pointID).result or {}, self._logic.getParameterNode().model)
        export = ReportExport(self._logic.queue.ask, self._onReport)
        export.begin(analysis, model, folder, self.ui.namesCheckBox.checked)
        self._awaited.append("report")

    def _onReport(self, paths: list, message: str, code: str) -> None:
        self._awaited.remove("report")
        self._written += [Path(path).name for path in paths]
        self._fail(message, code)
        self._report()

    def _fail(self, message: str, code: str) -> None:
        if message:
            self._failed.append(message)
            self._logic.statusLine.fail(MAEMCError(message, code))  # beside it stands what installs what is missing

    def _writeDicom(self, analysis, pointID: str, folder: str) -> None:
        model = modelBehind(analysis.record(pointID).result, self._logic.getParameterNode().model)
        request = dicomRequest(analysis, pointID, folder, model)
        self._logic.queue.ask("dicom", self._onDicom, **request)
        self._awaited.append("dicom")

    def _onDicom(self, message: dict) -> None:
        self._awaited.remove("dicom")
        if message["kind"] == "error":
            self._fail(message["message"], message["code"])
        else:
            text = _("{files} in {folder}") if message["new"] else _("{files} in {folder} (written before, unchanged)")
            self._written.append(text.format(files=", ".join(message["files"]), folder=Path(message["folder"]).name))
        self._report()

    def _report(self) -> None:
        if self.ui is None:
            return
        written = _("Written: {names}.").format(names=", ".join(self._written)) if self._written else ""
        waiting = _("Writing ...") if self._awaited else ""
        showText(self.ui.exportStatusLabel, " ".join([*self._failed, *filter(None, [written, waiting])]))

    # What is shown

    def show(self, analysis, pointID: str) -> None:
        """Follow the selection. Cheap while it is closed."""
        if self.dialog is None or not self.dialog.visible:
            return
        state = (repr(analysis.record(pointID)), reviewOf(analysis, pointID)) if analysis and pointID else ()
        about = analysis and analysis.tableNode, pointID, state
        if about != self._shown:
            self._shown, self._about = about, (analysis, pointID)
            self._update()

    def _update(self, *toggled) -> None:
        ui, (analysis, pointID) = self.ui, self._about
        reason = whyNoDicom(analysis, pointID)
        enable(ui.dicomCheckBox, reason, _("In the CT's study, with its patient's identity; unverified until accepted"))
        showText(ui.dicomReasonLabel, _("No DICOM: {reason}").format(reason=reason) if reason else "")
        sentence = sentenceOf(analysis)
        ui.exportSentenceLabel.text = sentence or _("No sentence yet: Clinical scores asks for what is missing.")
        enable(
            ui.copyExportSentenceButton, "" if sentence else _("There is no sentence yet."), _("Copy it for the report")
        )
        nothing = not any(box.checked and box.enabled for box in self._boxes().values())
        enable(
            ui.writeButton, _("Tick what is to be written.") if nothing else "", _("Write what is ticked to the folder")
        )
