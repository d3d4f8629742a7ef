"""The part of the panel that asks for what the chosen model reads beside the CT; hidden where it reads the CT alone."""

import qt
import slicer
from MAEMCLib.cases.values import CHOICE, NUMBER, SERIES
from slicer.i18n import tr as _

from .nodes import overlayIDs
from .widgets import enable, hideNodes


class ClinicalForm:
    """A row for each field that a model asks for, by name. It is given the values to show, of a series the ID of its
    volume node.

    frame: an empty widget with a layout. onEdited: called with name and text when the user has changed a value.
    """

    def __init__(self, frame, onEdited) -> None:
        self._frame, self._onEdited = frame, onEdited
        self._fields: tuple = ()
        self._values: dict = {}  # as last shown or edited
        self._editors: dict = {}  # name -> QLineEdit, QComboBox or qMRMLNodeComboBox
        self._rows = None
        frame.visible = False

    def show(self, fields, values: dict, volumeNode) -> None:
        """Ask for these fields (``cases.values.ClinicalField``) and show their values; cheap where all is as it
        was. What is being typed stays until other values come.

        volumeNode: the CT that they belong to, which is no further series of itself; None where there is none.
        """
        fields = tuple(fields)
        if fields != self._fields:
            self._fields, self._values = fields, {}
            self._build()
        texts = {name: str(values.get(name, "")) for name in self._editors}
        changed, self._values = texts != self._values, texts
        for name, editor in self._editors.items():
            if isinstance(editor, slicer.qMRMLNodeComboBox):
                self._writeSeries(editor, texts[name], volumeNode)
            elif changed and isinstance(editor, qt.QComboBox):
                editor.currentIndex = max(editor.findData(texts[name]), 0)
            elif changed:
                editor.text = texts[name]
        enable(self._frame, "" if volumeNode is not None else _("Choose a CT first: these are kept with it."), "")

    def _build(self) -> None:
        if self._rows is not None:
            self._rows.hide()
            self._rows.deleteLater()
        self._editors = {}
        self._rows = qt.QWidget()
        rows = qt.QFormLayout(self._rows)
        rows.setContentsMargins(0, 0, 0, 0)
        make = {NUMBER: self._number, CHOICE: self._choice, SERIES: self._series}
        for field in self._fields:
            editor = make[field.kind](field)
            editor.objectName = f"clinical_{field.name}"
            editor.toolTip = _hint(field)
            self._editors[field.name] = editor
            rows.addRow(qt.QLabel(f"{field.name} ({field.unit}):" if field.unit else f"{field.name}:"), editor)
        self._frame.layout().addWidget(self._rows)
        self._frame.visible = bool(self._fields)

    def _number(self, field):
        editor = qt.QLineEdit()
        if field.low is not None:
            editor.placeholderText = _("{low} to {high}").format(low=f"{field.low:g}", high=f"{field.high:g}")
        editor.connect("editingFinished()", lambda: self._onChanged(field.name, editor.text))
        return editor

    def _choice(self, field):
        editor = qt.QComboBox()
        editor.addItem(_("not given"), "")
        for choice in field.choices:
            editor.addItem(choice, choice)
        editor.connect("activated(int)", lambda: self._onChanged(field.name, editor.currentData))
        return editor

    def _series(self, field):
        editor = slicer.qMRMLNodeComboBox()
        editor.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        editor.showChildNodeTypes = False
        editor.addEnabled = editor.removeEnabled = False
        editor.noneEnabled = True
        editor.noneDisplay = _("not given")
        editor.setMRMLScene(slicer.mrmlScene)
        # Not currentNodeChanged: when its node is removed the selector moves on to another one, which nobody chose.
        editor.connect("nodeActivated(vtkMRMLNode*)", lambda: self._onChanged(field.name, editor.currentNodeID))
        return editor

    @staticmethod
    def _writeSeries(editor, nodeID: str, volumeNode) -> None:
        blocked = editor.blockSignals(True)  # a node that is set is "activated", too
        hideNodes(editor, ([volumeNode.GetID()] if volumeNode is not None else []) + overlayIDs(slicer.mrmlScene))
        if editor.currentNodeID != nodeID:
            editor.setCurrentNodeID(nodeID)
        editor.blockSignals(blocked)

    def _onChanged(self, name: str, text: str) -> None:
        text = text.strip()
        if text != self._values.get(name, ""):
            self._values[name] = text
            self._onEdited(name, text)


def _hint(field) -> str:
    series = _("Another CT series of the same patient, in the same coordinates.") if field.kind == SERIES else ""
    optional = _("The model was trained with and without it: it may be left empty.")
    required = _("The model cannot do without it.")
    return f"{series} {optional if field.optional else required}".strip()
