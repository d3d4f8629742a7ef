"""The window with the local calibration: how reader and model fared here, drawn by the scoring process."""

import base64

import qt
import slicer
from slicer.i18n import tr as _

_WIDTH = 640


class CalibrationDialog:
    """Opens at once; the picture comes when the scoring process has drawn it.

    logic: the module's. modelPath: the model whose numbers count.
    """

    def __init__(self, logic, modelPath) -> None:
        self._logic, self._modelPath = logic, modelPath
        self.dialog = qt.QDialog(slicer.util.mainWindow())
        self.dialog.setWindowTitle(_("Local calibration"))
        self.dialog.setAttribute(qt.Qt.WA_DeleteOnClose)
        layout = qt.QVBoxLayout(self.dialog)
        self.pictureLabel = qt.QLabel(_("Drawing ..."), self.dialog)
        self.pictureLabel.setMinimumSize(_WIDTH, 200)
        self.pictureLabel.alignment = qt.Qt.AlignCenter
        self.pictureLabel.wordWrap = True
        layout.addWidget(self.pictureLabel)

    def open(self) -> None:
        """Show it, and ask for the picture."""
        self.dialog.show()
        self._logic.queue.ask("calibration", self._onAnswer, model=str(self._modelPath))

    def _onAnswer(self, message: dict) -> None:
        if message["kind"] == "error":
            self.pictureLabel.text = message["message"]
            return
        pixmap = qt.QPixmap()
        pixmap.loadFromData(base64.b64decode(message["png"]))
        ratio = self.pictureLabel.devicePixelRatioF()
        pixmap = pixmap.scaledToWidth(round(_WIDTH * ratio), qt.Qt.SmoothTransformation)
        pixmap.setDevicePixelRatio(ratio)
        self.pictureLabel.setPixmap(pixmap)
