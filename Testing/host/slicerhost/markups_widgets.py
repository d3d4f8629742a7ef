"""Widgets of the Markups module: the place button and the simple list of points."""

from PySide6 import QtWidgets

from . import qt_signals
from .node_combo_box import qMRMLNodeComboBox
from .ui_loader import register


@register
class qSlicerMarkupsPlaceWidget(QtWidgets.QWidget):
    """The button that starts placing points into the current node."""

    standin_signals = (
        "activeMarkupsFiducialPlaceModeChanged(bool)",
        "activeMarkupsPlaceModeChanged(bool)",
        "mrmlSceneChanged(vtkMRMLScene*)",
    )
    standin_ignored_properties = frozenset({"defaultNodeColor", "placeMultipleMarkups", "buttonsVisible"})
    HidePlaceMultipleMarkupsOption, ShowPlaceMultipleMarkupsOption = 0, 1
    ForcePlaceSingleMarkup, ForcePlaceMultipleMarkups = 2, 3

    def __init__(self, parent=None):
        super().__init__(parent)
        self._standin_scene, self._standin_node, self._standin_observers = None, None, []
        self._standin_active = False
        self._standin_button = QtWidgets.QToolButton()
        self._standin_button.setText("Place")
        self._standin_button.setCheckable(True)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._standin_button)
        qt_signals.connect(self._standin_button, "clicked(bool)", self.setPlaceModeEnabled)
        qt_signals.connect(self, "destroyed()", self._release)

    def _release(self):
        for observed, tag in self._standin_observers:
            observed.RemoveObserver(tag)
        self._standin_observers = []

    def _nodes(self):
        import slicer

        logic = slicer.app.applicationLogic()
        return logic.GetSelectionNode(), logic.GetInteractionNode()

    def mrmlScene(self):
        return self._standin_scene

    def setMRMLScene(self, scene):
        import vtk

        if scene is self._standin_scene:
            return
        self._release()
        self._standin_scene = scene
        if scene is not None:
            for node in self._nodes():
                tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._update)
                self._standin_observers.append((node, tag))
        qt_signals.emit(self, "mrmlSceneChanged(vtkMRMLScene*)", scene)

    def currentNode(self):
        return self._standin_node

    def setCurrentNode(self, node):
        self._standin_node = node
        self._update()

    currentMarkupsNode = currentNode

    def placeButton(self):
        return self._standin_button

    def setPlaceModeEnabled(self, enabled):
        import slicer

        if self._standin_node is None or self._standin_scene is None:
            return
        selection, interaction = self._nodes()
        if enabled:
            selection.SetReferenceActivePlaceNodeClassName(self._standin_node.GetClassName())
            selection.SetActivePlaceNodeID(self._standin_node.GetID())
            interaction.SetPlaceModePersistence(0)
            interaction.SetCurrentInteractionMode(slicer.vtkMRMLInteractionNode.Place)
        elif self._placing():
            interaction.SetCurrentInteractionMode(slicer.vtkMRMLInteractionNode.ViewTransform)

    def setPlaceModePersistency(self, persistent):
        self._nodes()[1].SetPlaceModePersistence(int(persistent))

    def _placing(self):
        import slicer

        if self._standin_node is None or self._standin_scene is None:
            return False
        selection, interaction = self._nodes()
        mode = interaction.GetCurrentInteractionMode() == slicer.vtkMRMLInteractionNode.Place
        return mode and selection.GetActivePlaceNodeID() == self._standin_node.GetID()

    def _update(self, *_):
        placing = self._placing()
        self._standin_button.setChecked(placing)
        if placing != self._standin_active:
            self._standin_active = placing
            for signal in ("activeMarkupsPlaceModeChanged(bool)", "activeMarkupsFiducialPlaceModeChanged(bool)"):
                qt_signals.emit(self, signal, placing)

    placeModeEnabled = property(_placing, setPlaceModeEnabled)
    currentNodeActive = property(_placing)


@register
class qSlicerSimpleMarkupsWidget(QtWidgets.QWidget):
    """A selector, a place button and the table of points of one markups node."""

    standin_signals = (
        "markupsNodeChanged()",
        "markupsFiducialNodeChanged()",
        "currentMarkupsControlPointSelectionChanged(int)",
        "updateFinished()",
        "mrmlSceneChanged(vtkMRMLScene*)",
    )
    standin_ignored_properties = frozenset(
        {"enterPlaceModeOnNodeChange", "jumpToSliceEnabled", "optionsVisible", "viewGroup", "defaultNodeColor",
         "nodeSelectorVisible", "markupsPlaceWidgetVisible"}
    )  # fmt: skip

    def __init__(self, parent=None):
        super().__init__(parent)
        self._standin_scene, self._standin_observers = None, []
        self._standin_selector = qMRMLNodeComboBox()
        self._standin_selector.nodeTypes = ["vtkMRMLMarkupsFiducialNode"]
        self._standin_selector.noneEnabled = True
        self._standin_place = qSlicerMarkupsPlaceWidget()
        self._standin_table = QtWidgets.QTableWidget(0, 4)
        self._standin_table.setHorizontalHeaderLabels(["Label", "R", "A", "S"])
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self._standin_selector, self._standin_place, self._standin_table):
            layout.addWidget(widget)
        qt_signals.connect(self._standin_selector, "currentNodeChanged(vtkMRMLNode*)", self._node_changed)
        qt_signals.connect(
            self._standin_table,
            "currentCellChanged(int,int,int,int)",
            lambda row: qt_signals.emit(self, "currentMarkupsControlPointSelectionChanged(int)", row),
        )
        qt_signals.connect(self, "destroyed()", self._release)

    def _release(self):
        for observed, tag in self._standin_observers:
            observed.RemoveObserver(tag)
        self._standin_observers = []

    def mrmlScene(self):
        return self._standin_scene

    def setMRMLScene(self, scene):
        if scene is self._standin_scene:
            return
        self._standin_scene = scene
        self._standin_place.setMRMLScene(scene)
        self._standin_selector.setMRMLScene(scene)
        qt_signals.emit(self, "mrmlSceneChanged(vtkMRMLScene*)", scene)

    def currentNode(self):
        return self._standin_selector.currentNode()

    def setCurrentNode(self, node):
        self._standin_selector.setCurrentNode(node)

    def tableWidget(self):
        return self._standin_table

    def markupsPlaceWidget(self):
        return self._standin_place

    def markupsSelectorComboBox(self):
        return self._standin_selector

    def _node_changed(self, node):
        import slicer

        self._release()
        if node is not None:
            kind = slicer.vtkMRMLMarkupsNode
            for event in (kind.PointAddedEvent, kind.PointModifiedEvent, kind.PointRemovedEvent):
                self._standin_observers.append((node, node.AddObserver(event, self._update)))
        self._standin_place.setCurrentNode(node)
        self._update()
        qt_signals.emit(self, "markupsNodeChanged()")
        qt_signals.emit(self, "markupsFiducialNodeChanged()")

    def _update(self, *_):
        node, table = self.currentNode(), self._standin_table
        table.setRowCount(node.GetNumberOfControlPoints() if node is not None else 0)
        for row in range(table.rowCount):
            position = [0.0, 0.0, 0.0]
            node.GetNthControlPointPosition(row, position)
            texts = [node.GetNthControlPointLabel(row), *(f"{value:.3f}" for value in position)]
            for column, text in enumerate(texts):
                table.setItem(row, column, QtWidgets.QTableWidgetItem(text))
        qt_signals.emit(self, "updateFinished()")
