"""The application object: what scripts call on ``slicer.app``."""

import sys
from pathlib import Path

from PySide6 import QtCore, QtWidgets

from . import qt_signals
from .ui_loader import register


@register
class qSlicerApplication(QtWidgets.QApplication):
    """Slicer's application, without main window; ``layoutManager()`` is None until a view exists."""

    standin_signals = ("startupCompleted()",)

    def standin_prepare(self, folder: Path, testing: bool) -> None:
        from .layout import LayoutManager
        from .module_factory import CppModule, qSlicerModuleManager
        from .scene import Scene

        self._standin_folder, self._standin_testing = folder, testing
        self._standin_manager = qSlicerModuleManager()
        self._standin_paused = 0
        self._standin_scene = Scene(folder / "cache")
        self._standin_layout = LayoutManager()
        import slicer

        for name, logic in self._standin_scene.logics.items():
            module = CppModule(name, logic)
            setattr(slicer.modules, name.lower(), module)
            setattr(slicer.moduleNames, name, name)
            self._standin_manager._standin_factory._standin_modules[name] = module

    # --- MRML ------------------------------------------------------------------------------------------------------
    def mrmlScene(self):
        return self._standin_scene.mrml

    def applicationLogic(self):
        return self._standin_scene.application_logic

    def coreIOManager(self):
        return self._standin_io

    ioManager = coreIOManager

    def layoutManager(self):
        """None as with ``--no-main-window``, unless the test has made views."""
        return self._standin_layout if self._standin_layout.standin_has_views() else None

    def standin_layout_manager(self):
        return self._standin_layout

    def moduleManager(self):
        return self._standin_manager

    # --- the program -----------------------------------------------------------------------------------------------
    def mainWindow(self):
        return None

    def pythonConsole(self):
        return None

    def testingEnabled(self):
        return self._standin_testing

    def commandOptions(self):
        return self._standin_options

    def exit(self, code=0):
        raise SystemExit(code)

    def settings(self):
        return QtCore.QSettings()

    def userSettings(self):
        return QtCore.QSettings()

    revisionUserSettings = userSettings

    def startupEnvironment(self):
        return QtCore.QProcessEnvironment.systemEnvironment()

    def moduleDocumentationUrl(self, name):
        return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"

    def pauseRender(self):
        self._standin_paused += 1

    def resumeRender(self):
        self._standin_paused -= 1

    def isRenderPaused(self):
        return self._standin_paused > 0

    def topLevelWidgets(self):
        return tuple(QtWidgets.QApplication.topLevelWidgets())

    def restart(self):
        raise RuntimeError("the stand-in cannot restart the application")

    def openUrl(self, url):
        return True

    # --- properties ------------------------------------------------------------------------------------------------
    majorVersion = property(lambda self: 5)
    minorVersion = property(lambda self: 12)
    applicationVersion = property(lambda self: "5.12.3")
    revision = property(lambda self: "34567")
    temporaryPath = property(lambda self: str(self._standin_folder / "temporary"))
    slicerHome = property(lambda self: str(self._standin_folder / "home"))
    defaultScenePath = property(lambda self: str(self._standin_folder / "scenes"))
    extensionsInstallPath = property(lambda self: str(self._standin_folder / "extensions"))
    slicerUserSettingsFilePath = property(lambda self: QtCore.QSettings().fileName())
    documentationBaseUrl = property(lambda self: "https://slicer.readthedocs.io/en/latest/")
    os = property(lambda self: {"linux": "linux", "darwin": "macosx"}.get(sys.platform, "win"))


def create(folder: Path, testing: bool) -> qSlicerApplication:
    """Make the application over the settings in ``folder`` and publish it as ``slicer.app``."""
    import slicer

    settings = QtCore.QSettings
    settings.setDefaultFormat(settings.Format.IniFormat)
    for scope in (settings.Scope.UserScope, settings.Scope.SystemScope):
        settings.setPath(settings.Format.IniFormat, scope, str(folder))
    QtCore.QCoreApplication.setOrganizationName("NA-MIC")
    QtCore.QCoreApplication.setApplicationName("Slicer")
    application = qSlicerApplication(["Slicer"])
    application.setQuitOnLastWindowClosed(False)
    for name in ("temporary", "home", "scenes", "extensions"):
        (folder / name).mkdir(exist_ok=True)
    slicer.app = application
    application.standin_prepare(folder, testing)
    slicer.mrmlScene = application.mrmlScene()
    from . import io_manager

    application._standin_io = io_manager.CoreIOManager(application)
    application._standin_options = CommandOptions(testing)
    qt_signals.emit(application, "startupCompleted()")
    return application


class CommandOptions:
    """How Slicer was started."""

    def __init__(self, testing):
        self.testingEnabled, self.noMainWindow, self.noSplash = testing, True, True
        self.pythonScript, self.pythonCode = "", ""
