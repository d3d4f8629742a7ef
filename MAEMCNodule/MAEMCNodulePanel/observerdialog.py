"""The dialog that asks once who decides."""

import contextlib
from pathlib import Path

import qt
import slicer
from MAEMCLib.errors import MAEMCError
from MAEMCLib.files.atomic import home
from MAEMCLib.review.observer import Observer, read_observer, store_observer

from .widgets import showText

_UI = Path(__file__).resolve().parent.parent / "Resources" / "UI" / "MAEMCObserver.ui"


def observerNamed() -> bool:
    """Whether it is known who decides: asks where it is not, and keeps the answer."""
    with contextlib.suppress(MAEMCError):  # a damaged name is asked for again
        if read_observer(home()) is not None:
            return True
    return ObserverDialog().ask()


class ObserverDialog:
    """Name and organization, asked until they can be stored."""

    def __init__(self) -> None:
        self.dialog = slicer.util.loadUI(str(_UI))
        self.dialog.setParent(slicer.util.mainWindow(), qt.Qt.Dialog)
        self.ui = slicer.util.childWidgetVariables(self.dialog)
        showText(self.ui.observerProblemLabel, "")
        self.ui.buttonBox.connect("accepted()", self._onAccepted)
        self.ui.buttonBox.connect("rejected()", self.dialog.reject)

    def ask(self) -> bool:
        """Whether they were stored."""
        stored = self.dialog.exec_() == qt.QDialog.Accepted
        self.dialog.deleteLater()
        return stored

    def _onAccepted(self) -> None:
        try:
            store_observer(home(), Observer(self.ui.nameEdit.text.strip(), self.ui.organizationEdit.text.strip()))
        except MAEMCError as error:
            showText(self.ui.observerProblemLabel, str(error))
        else:
            self.dialog.accept()
