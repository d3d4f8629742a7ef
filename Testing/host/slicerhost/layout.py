"""A small layout manager: it has the slice and plot views which a test made, and no others."""

from PySide6 import QtCore, QtWidgets

from . import qt_signals
from .ui_loader import register

LAYOUTS = 100  # numbers of Slicer's own layouts lie below


@register
class qSlicerLayoutManager(QtCore.QObject):
    """``slicer.app.layoutManager()``."""

    standin_signals = ("layoutChanged(int)",)

    def __init__(self):
        super().__init__()
        self._standin_views = {}
        self._standin_plots = {}
        self._standin_viewport = QtWidgets.QWidget()

    def standin_add(self, view):
        self._standin_views[view.name] = SliceWidget(view)

    def standin_remove(self, name):
        self._standin_views.pop(name, None)

    def standin_add_plot(self, view):
        self._standin_plots[view.name] = view
        self._standin_layout_node()  # Slicer has one from the start; Plots' logic switches it to a layout with plot

    def standin_remove_plot(self, name):
        self._standin_plots.pop(name, None)

    def standin_has_views(self):
        return bool(self._standin_views or self._standin_plots)

    def viewport(self):
        return self._standin_viewport  # empty: views here draw offscreen

    @property
    def plotViewCount(self):
        return len(self._standin_plots)

    def sliceViewNames(self):
        return tuple(self._standin_views)

    def sliceWidget(self, name):
        return self._standin_views.get(name)

    def mrmlSliceLogics(self):
        import slicer

        return slicer.app.applicationLogic().GetSliceLogics()

    @property
    def threeDViewCount(self):
        return 0

    def threeDWidget(self, index):
        return None

    def mrmlScene(self):
        import slicer

        return slicer.mrmlScene

    def resetSliceViews(self):
        for widget in self._standin_views.values():
            widget.sliceLogic().FitSliceToAll()

    def resetThreeDViews(self):
        """There is none."""

    def setLayout(self, layout):
        self._standin_layout_node().SetViewArrangement(layout)
        qt_signals.emit(self, "layoutChanged(int)", layout)

    layout = property(lambda self: self._standin_layout_node().GetViewArrangement(), setLayout)

    def _standin_layout_node(self):
        import slicer

        scene = slicer.mrmlScene
        node = scene.GetSingletonNode("vtkMRMLLayoutNode", "vtkMRMLLayoutNode")
        if node is None:
            node = slicer.vtkMRMLLayoutNode()
            node.SetSingletonTag("vtkMRMLLayoutNode")
            node = scene.AddNode(node)
            for layout in range(1, LAYOUTS):
                node.AddLayoutDescription(layout, '<layout type="vertical"/>')
            node.SetViewArrangement(node.SlicerLayoutFourUpView)
        return node


LayoutManager = qSlicerLayoutManager


class SliceWidget:
    """``layoutManager.sliceWidget(name)``."""

    def __init__(self, view):
        self._view = view

    def sliceLogic(self):
        return self._view.logic

    def mrmlSliceNode(self):
        return self._view.logic.GetSliceNode()

    def mrmlSliceCompositeNode(self):
        return self._view.logic.GetSliceCompositeNode()

    def sliceView(self):
        return SliceViewWidget(self._view)


class SliceViewWidget:
    """``sliceWidget.sliceView()``."""

    def __init__(self, view):
        self._view = view

    def mrmlSliceNode(self):
        return self._view.logic.GetSliceNode()

    def renderWindow(self):
        return self._view.window

    def scheduleRender(self):
        self._view.stale = True

    def forceRender(self):
        self._view.render()
