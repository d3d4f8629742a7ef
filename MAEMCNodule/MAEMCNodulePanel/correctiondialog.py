"""The dialog that asks what of a result a reader has corrected."""

from pathlib import Path

import qt
import slicer
from MAEMCLib.review.review import CORRECTABLE
from slicer.i18n import tr as _

from .widgets import enable

_UI = Path(__file__).resolve().parent.parent / "Resources" / "UI" / "MAEMCNoduleCorrection.ui"


class CorrectionDialog:
    """A box for each part of a result that can be corrected; of the probability also the reader's own."""

    def __init__(self) -> None:
        self.dialog = slicer.util.loadUI(str(_UI))
        self.dialog.setParent(slicer.util.mainWindow(), qt.Qt.Dialog)
        self.ui = slicer.util.childWidgetVariables(self.dialog)
        self.boxes = {part: getattr(self.ui, f"{part}CheckBox") for part in CORRECTABLE}
        for box in self.boxes.values():
            box.connect("toggled(bool)", self._update)
        self.ui.buttonBox.connect("accepted()", self.dialog.accept)
        self.ui.buttonBox.connect("rejected()", self.dialog.reject)
        self._update()

    def ask(self) -> tuple | None:
        """(names of what was corrected, the reader's own probability in percent or None); None where it was closed."""
        accepted = self.dialog.exec_() == qt.QDialog.Accepted
        correction = self.correction() if accepted else None
        self.dialog.deleteLater()
        return correction

    def correction(self) -> tuple:
        """What is ticked."""
        parts = tuple(part for part, box in self.boxes.items() if box.checked)
        return parts, float(self.ui.percentSpinBox.value) if "probability" in parts else None

    def _update(self, *toggled) -> None:
        missing = "" if self.boxes["probability"].checked else _("Tick the probability first.")
        enable(self.ui.percentSpinBox, missing, _("Your own probability of malignancy, in percent"))
        nothing = "" if self.correction()[0] else _("Tick what you have corrected.")
        enable(self.ui.buttonBox.button(qt.QDialogButtonBox.Ok), nothing, _("Write the correction to the audit log"))
