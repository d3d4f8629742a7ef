"""Widgets that follow a MRML scene: qMRMLWidget and its kind."""

from PySide6 import QtWidgets

from . import qt_signals
from .ui_loader import register


class _SceneHolder:
    """The part of qMRMLWidget and qSlicerWidget which holds the scene."""

    standin_signals = ("mrmlSceneChanged(vtkMRMLScene*)",)
    _standin_scene = None

    def mrmlScene(self):
        return self._standin_scene

    def setMRMLScene(self, scene):
        if scene is self._standin_scene:
            return
        self._standin_scene = scene
        qt_signals.emit(self, "mrmlSceneChanged(vtkMRMLScene*)", scene)


@register
class qMRMLWidget(_SceneHolder, QtWidgets.QWidget):
    """A container which passes the scene on to what is connected to ``mrmlSceneChanged(vtkMRMLScene*)``."""

    def __init__(self, parent=None):
        QtWidgets.QWidget.__init__(self, parent)


@register
class qSlicerWidget(qMRMLWidget):
    """qMRMLWidget's older brother."""


@register
class qSlicerScriptedLoadableModuleWidget(qSlicerWidget):
    """The C++ half of a scripted module's widget; ``self()`` is the Python half."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._standin_self = None
        self._standin_reload = None
        QtWidgets.QVBoxLayout(self)

    def self(self):
        return self._standin_self

    def reload(self):
        return self._standin_reload()
