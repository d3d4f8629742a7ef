"""The part of the panel that asks for what the chosen model reads beside the CT; hidden where it reads the CT alone."""

import qt
from MAEMCLib.clinical import CHOICE, NUMBER
from slicer.i18n import tr as _


class ClinicalForm:
    """A row for each clinical value that a model asks for, by name. Knows no scene: it is given the values to show.

    frame: an empty widget with a layout. onEdited: called with {name: text} when the user has changed a value.
    """

    def __init__(self, frame, onEdited) -> None:
        self._frame, self._onEdited = frame, onEdited
        self._asked: tuple = ()
        self._values: dict = {}  # as last shown or typed
        self._editors: dict = {}  # name -> QLineEdit or QComboBox
        self._rows = None
        frame.visible = False

    def show(self, asked, values: dict, enabled: bool = True) -> None:
        """Ask for these fields (``MAEMCLib.clinical.ClinicalField``) and show what is known; cheap where all is as it
        was. What is being typed stays until other values come."""
        asked = tuple(asked)
        if asked != self._asked:
            self._asked, self._values = asked, {}
            self._build()
        known = {name: str(values.get(name, "")) for name in self._editors}
        if known != self._values:
            self._values = known
            for name, editor in self._editors.items():
                self._write(editor, known[name])
        if self._frame.enabled != enabled:
            self._frame.enabled = enabled

    def values(self) -> dict:
        """{name: text} of what stands in the form; what is empty is left out."""
        texts = {name: self._text(editor).strip() for name, editor in self._editors.items()}
        return {name: text for name, text in texts.items() if text}

    def _build(self) -> None:
        if self._rows is not None:
            self._rows.hide()
            self._rows.deleteLater()
        self._editors = {}
        self._rows = qt.QWidget()
        rows = qt.QFormLayout(self._rows)
        rows.setContentsMargins(0, 0, 0, 0)
        for one in self._asked:
            if one.kind in (NUMBER, CHOICE):
                editor = self._choice(one) if one.kind == CHOICE else self._number(one)
                editor.objectName = f"clinical_{one.name}"
                editor.toolTip = self._hint(one)
                self._editors[one.name] = editor
                rows.addRow(qt.QLabel(self._title(one)), editor)
            elif not one.optional:
                text = _("The model also reads {name}, another series, which only maemc score can give it.")
                note = qt.QLabel(text.format(name=one.name))
                note.wordWrap = True
                rows.addRow(note)
        self._frame.layout().addWidget(self._rows)
        self._frame.visible = bool(self._asked)

    def _number(self, one):
        editor = qt.QLineEdit()
        if one.low is not None:
            editor.placeholderText = _("{low} to {high}").format(low=f"{one.low:g}", high=f"{one.high:g}")
        editor.connect("editingFinished()", self._onChanged)
        return editor

    def _choice(self, one):
        editor = qt.QComboBox()
        editor.addItem(_("not given"), "")
        for choice in one.choices:
            editor.addItem(choice, choice)
        editor.connect("activated(int)", self._onChanged)
        return editor

    @staticmethod
    def _title(one) -> str:
        return f"{one.name} ({one.unit}):" if one.unit else f"{one.name}:"

    @staticmethod
    def _hint(one) -> str:
        if one.optional:
            return _("The model was trained with and without it: it may be left empty.")
        return _("The model cannot do without it.")

    @staticmethod
    def _text(editor) -> str:
        return editor.currentData if isinstance(editor, qt.QComboBox) else editor.text

    @staticmethod
    def _write(editor, text: str) -> None:
        if isinstance(editor, qt.QComboBox):
            editor.currentIndex = max(editor.findData(text), 0)
        else:
            editor.text = text

    def _onChanged(self) -> None:
        values = self.values()
        known = {name: values.get(name, "") for name in self._editors}
        if known != self._values:
            self._values = known
            self._onEdited(values)
