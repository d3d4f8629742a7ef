"""The part of the panel that asks for what the chosen model reads beside the CT; hidden where it reads the CT alone."""

import qt
import slicer
from MAEMCLib.cases.values import CHOICE, NUMBER, SERIES
from slicer.i18n import tr as _

from .overlays import overlayIDs


class ClinicalForm:
    """A row for each field that a model asks for, by name. It is given the values to show, of a series the ID of its
    volume node.

    frame: an empty widget with a layout. onEdited: called with name and text when the user has changed a value.
    """

    def __init__(self, frame, onEdited) -> None:
        self._frame, self._onEdited = frame, onEdited
        self._asked: tuple = ()
        self._values: dict = {}  # as last shown or edited
        self._editors: dict = {}  # name -> QLineEdit, QComboBox or qMRMLNodeComboBox
        self._rows = None
        frame.visible = False

    def show(self, asked, values: dict, volumeNode) -> None:
        """Ask for these fields (``cases.values.ClinicalField``) and show what is known; cheap where all is as it
        was. What is being typed stays until other values come.

        volumeNode: the CT that they belong to, which is no further series of itself; None where there is none.
        """
        asked = tuple(asked)
        if asked != self._asked:
            self._asked, self._values = asked, {}
            self._build()
        known = {name: str(values.get(name, "")) for name in self._editors}
        changed, self._values = known != self._values, known
        for name, editor in self._editors.items():
            if isinstance(editor, slicer.qMRMLNodeComboBox):
                self._writeSeries(editor, known[name], volumeNode)
            elif changed:
                self._write(editor, known[name])
        if self._frame.enabled != (volumeNode is not None):
            self._frame.enabled = volumeNode is not None

    def _build(self) -> None:
        if self._rows is not None:
            self._rows.hide()
            self._rows.deleteLater()
        self._editors = {}
        self._rows = qt.QWidget()
        rows = qt.QFormLayout(self._rows)
        rows.setContentsMargins(0, 0, 0, 0)
        make = {NUMBER: self._number, CHOICE: self._choice, SERIES: self._series}
        for one in self._asked:
            editor = make[one.kind](one)
            editor.objectName = f"clinical_{one.name}"
            editor.toolTip = self._hint(one)
            self._editors[one.name] = editor
            rows.addRow(qt.QLabel(self._title(one)), editor)
        self._frame.layout().addWidget(self._rows)
        self._frame.visible = bool(self._asked)

    def _number(self, one):
        editor = qt.QLineEdit()
        if one.low is not None:
            editor.placeholderText = _("{low} to {high}").format(low=f"{one.low:g}", high=f"{one.high:g}")
        editor.connect("editingFinished()", lambda: self._onChanged(one.name, editor.text))
        return editor

    def _choice(self, one):
        editor = qt.QComboBox()
        editor.addItem(_("not given"), "")
        for choice in one.choices:
            editor.addItem(choice, choice)
        editor.connect("activated(int)", lambda: self._onChanged(one.name, editor.currentData))
        return editor

    def _series(self, one):
        editor = slicer.qMRMLNodeComboBox()
        editor.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        editor.showChildNodeTypes = False
        editor.addEnabled = editor.removeEnabled = False
        editor.noneEnabled = True
        editor.noneDisplay = _("not given")
        editor.setMRMLScene(slicer.mrmlScene)
        # Not currentNodeChanged: when its node is removed the selector moves on to another one, which nobody chose.
        editor.connect("nodeActivated(vtkMRMLNode*)", lambda: self._onChanged(one.name, editor.currentNodeID))
        return editor

    @staticmethod
    def _title(one) -> str:
        return f"{one.name} ({one.unit}):" if one.unit else f"{one.name}:"

    @staticmethod
    def _hint(one) -> str:
        hints = [_("Another CT series of the same patient, in the same coordinates.")] if one.kind == SERIES else []
        if one.optional:
            hints.append(_("The model was trained with and without it: it may be left empty."))
        else:
            hints.append(_("The model cannot do without it."))
        return " ".join(hints)

    @staticmethod
    def _write(editor, text: str) -> None:
        if isinstance(editor, qt.QComboBox):
            editor.currentIndex = max(editor.findData(text), 0)
        else:
            editor.text = text

    @staticmethod
    def _writeSeries(editor, nodeID: str, volumeNode) -> None:
        blocked = editor.blockSignals(True)  # a node that is set is "activated", too
        hidden = (*([volumeNode.GetID()] if volumeNode is not None else []), *overlayIDs(slicer.mrmlScene))
        if tuple(editor.sortFilterProxyModel().hiddenNodeIDs) != hidden:
            editor.sortFilterProxyModel().hiddenNodeIDs = list(hidden)
        if editor.currentNodeID != nodeID:
            editor.setCurrentNodeID(nodeID)
        editor.blockSignals(blocked)

    def _onChanged(self, name: str, text: str) -> None:
        text = text.strip()
        if text != self._values.get(name, ""):
            self._values[name] = text
            self._onEdited(name, text)
