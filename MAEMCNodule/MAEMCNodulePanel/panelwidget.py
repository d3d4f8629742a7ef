"""What the panels of both modules do alike: their life, installing what is missing, and errors in the status line."""

import contextlib
import sys

import qt
import slicer
from MAEMCLib.errors import MAEMCError
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget

from .installing import REMEDY_CODES, Declined, buttonText, install
from .status import Status
from .widgets import setValues

_DEVICE_SETTING = "MAEMC/Device"


class PanelWidget(ScriptedLoadableModuleWidget):
    """A panel over its logic, which has a ``statusLine`` and tells by ``changed`` when there is something to show.

    A panel has ``refresh``, ``onTimer`` and ``_onInstalled``, which is called with an error's code when what the error
    was about has been installed. makeLogic: makes its logic. packages: those that a reload reads anew. requirements:
    in Resources, what is needed besides PyTorch.
    """

    makeLogic: type
    packages: tuple = ()
    requirements = "requirements.txt"
    pollMilliseconds = 50

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        self.logic = None
        self._entered = False
        self._deviceRequested = False

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath(f"UI/{self.moduleName}.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        setValues(self.ui.deviceSelector, ("auto", "cpu", "cuda", "mps")[: self.ui.deviceSelector.count])
        chosen = self.ui.deviceSelector.findData(slicer.app.userSettings().value(_DEVICE_SETTING, "auto"))
        self.ui.deviceSelector.currentIndex = max(chosen, 0)
        self.ui.deviceSelector.connect("activated(int)", self.onDeviceSelected)
        self.ui.installButton.connect("clicked()", self.onInstall)
        self.logic = self.makeLogic()
        self.logic.changed.connect(self._wake)
        self.timer = qt.QTimer()
        self.timer.setInterval(self.pollMilliseconds)
        self.timer.connect("timeout()", self.onTimer)

    def cleanup(self) -> None:
        self.timer.stop()
        self.logic.cleanup()

    def enter(self) -> None:
        self._entered = True
        if not self._deviceRequested:
            self._deviceRequested = True
            self.logic.requestDevice()

    def exit(self) -> None:
        self._entered = False

    def onReload(self) -> None:
        # Slicer runs the module file anew but takes its imports from the cache.
        for name in list(sys.modules):
            if name.split(".")[0] in self.packages:
                del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def _wake(self, *event) -> None:
        """Let the timer run. event: of a node that is observed."""
        if not self.timer.active:
            self.timer.start()

    def onInstall(self) -> None:
        code = self._remedyCode()
        try:
            install(code, self.resourcePath(self.requirements))
        except Declined as declined:
            self.logic.statusLine.set(Status("idle", str(declined), code))
        except MAEMCError as error:
            self.logic.statusLine.fail(error)
        else:
            self._onInstalled(code)
            self.logic.requestDevice()
        self.refresh()

    def _remedyCode(self) -> str:
        """The code of the error that the install button may do away with."""
        return self.logic.status.code

    def _updateInstallButton(self) -> None:
        code = self._remedyCode()
        self.ui.installButton.visible = code in REMEDY_CODES
        self.ui.installButton.text = buttonText(code) or self.ui.installButton.text

    def onDeviceSelected(self, index: int) -> None:
        slicer.app.userSettings().setValue(_DEVICE_SETTING, self.ui.deviceSelector.itemData(index))

    @contextlib.contextmanager
    def _errorsInStatusLine(self):
        try:
            yield
        except MAEMCError as error:
            self.logic.statusLine.fail(error)
