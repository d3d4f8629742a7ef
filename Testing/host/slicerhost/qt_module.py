"""The module ``qt``, made from PySide6 with PythonQt's rules."""

import sys
import types

from PySide6 import QtCore, QtGui, QtNetwork, QtUiTools, QtWidgets
from shiboken6 import Shiboken

from . import qt_modal, qt_signals, qt_strict, slot_errors

# PySide6's own names, which PythonQt does not have.
ABSENT = frozenset(
    {"ClassInfo", "Property", "QEnum", "QFlag", "QUiLoader", "SIGNAL", "SLOT", "Signal", "SignalInstance", "Slot"}
)


def _single_shot(milliseconds, *arguments):
    """``QTimer.singleShot(milliseconds, [type,] function)``; an exception is collected like one in a slot."""
    timer = QtCore.QTimer(QtCore.QCoreApplication.instance())
    timer.setSingleShot(True)
    call = qt_signals.adapt(arguments[-1])

    def fire():
        timer.deleteLater()
        call()

    qt_signals.connect(timer, "timeout()", fire)
    timer.start(milliseconds)


def _settings_value(self, key, default=None):
    """``QSettings.value`` takes no type in PythonQt, and gives lists of strings as tuples."""
    return qt_strict.to_python(QtCore.QSettings.standin_value(self, key, default))


def _patch_timer() -> None:
    QtCore.QTimer.singleShot = qt_strict.QtProperty("singleShot", staticmethod(_single_shot))


def _patch_settings() -> None:
    settings = QtCore.QSettings
    settings.standin_value = settings.value
    settings.value = _settings_value
    for name in ("allKeys", "childKeys", "childGroups"):
        original = getattr(settings, name)
        setattr(settings, name, lambda self, _original=original: tuple(_original(self)))


def _patch_actions() -> None:
    """PythonQt's ``addAction`` takes no Python function: an action is made and its ``triggered`` connected."""
    for kind in (QtWidgets.QMenu, QtWidgets.QMenuBar, QtWidgets.QToolBar, QtWidgets.QWidget):
        original = kind.addAction

        def add_action(self, *arguments, _original=original):
            if any(callable(argument) for argument in arguments):
                raise TypeError("addAction takes no function in PythonQt: connect the action's triggered signal")
            return _original(self, *arguments)

        kind.addAction = add_action


def build() -> types.ModuleType:
    """Make ``qt``, register it in ``sys.modules``, and patch PySide6's classes. Done once a process."""
    if "qt" in sys.modules:
        return sys.modules["qt"]
    module = types.ModuleType("qt", "Qt as PythonQt gives it to scripts in 3D Slicer (a stand-in over PySide6)")
    kinds = []
    for source in (QtCore, QtGui, QtNetwork, QtWidgets):
        for name in dir(source):  # PySide6 makes its classes at first use: vars() would not show them
            if name.startswith("_") or name in ABSENT:
                continue
            value = getattr(source, name)
            if not isinstance(value, type) and not name.startswith("Q"):
                continue
            setattr(module, name, value)
            if isinstance(value, type) and issubclass(value, Shiboken.Object):
                kinds.append(value)
    kinds.append(QtUiTools.QUiLoader)
    # Base classes last: each class takes its originals before its bases are patched.
    for kind in sorted(kinds, key=lambda kind: len(kind.__mro__), reverse=True):
        qt_strict.make_strict(kind)
    _patch_timer()
    _patch_settings()
    _patch_actions()
    qt_modal.install()
    slot_errors.install_hook()
    sys.modules["qt"] = module
    from . import ui_loader

    module.QUiLoader = ui_loader.QUiLoader
    return module
