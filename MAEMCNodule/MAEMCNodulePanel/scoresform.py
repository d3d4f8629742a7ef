"""The form of the clinical scores: asks for what they need, in two columns, made from the scores' own fields."""

import qt
from MAEMCLib.clinical.fields import CHOICE, COUNT, COUNT_CONFIRMED, FLAG
from slicer.i18n import tr as _

_FLAG_LETTERS = 24
_LABEL_LETTERS = 15
"""Letters of what stands in half a row: of the title of a check box, of the label of another editor."""


class ScoresForm:
    """An editor for each field that is asked for, by name; of a field that goes it stays, for when it comes back.

    frame: an empty widget. onEdited: called with name and text when the user has changed a value.
    """

    def __init__(self, frame, onEdited) -> None:
        self._onEdited = onEdited
        self._frame = frame
        self._grid = qt.QGridLayout(frame)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(4)
        self._grid.setColumnStretch(1, 1)
        self._grid.setColumnStretch(3, 1)
        self._editors: dict = {}  # name -> QLineEdit, QComboBox or QCheckBox
        self._labels: dict = {}  # name -> QLabel beside it; a check box has none
        self._shown: dict = {}  # name -> (text, known) as last shown or edited
        self._asked: tuple = ()

    def show(self, fields, given: dict, known: dict, nodule: str) -> None:
        """Ask for these fields. given: {name: text} that the user has given. known: what stands for what is not given,
        else. nodule: its name."""
        fields = [one for one in fields if one.name != COUNT_CONFIRMED.name]
        for one in fields + [COUNT_CONFIRMED] * any(one.name == COUNT.name for one in fields):
            self._write(one, given.get(one.name, ""), known.get(one.name, ""))
        asked = (nodule, *(one.name for one in fields))
        if asked != self._asked:
            self._asked = asked
            self._arrange(fields, nodule)

    def _arrange(self, fields, nodule: str) -> None:
        while self._grid.count():
            self._grid.takeAt(0)
        for widget in (*self._editors.values(), *self._labels.values()):
            widget.hide()
        row = 0
        groups = (
            (_("Patient (not ticked: no)"), True),
            (_("{name} (not ticked: no)").format(name=nodule), False),
        )
        for title, perPatient in groups:
            group = [one for one in fields if one.per_patient == perPatient]
            if group:
                self._grid.addWidget(self._title(perPatient, title), row, 0, 1, 4)
                row = self._arrangeGroup(group, row + 1)

    def _title(self, perPatient: bool, text: str):
        label = self._labels.setdefault(f"title {perPatient}", qt.QLabel(self._frame))
        label.textFormat = qt.Qt.PlainText
        label.text = text
        font = label.font
        font.setBold(True)
        label.font = font
        label.show()
        return label

    def _arrangeGroup(self, group, row: int) -> int:
        """Puts editors into the grid from a row on, check boxes last; returns the row below."""
        ordered = sorted(group, key=_order)
        if any(one.name == COUNT.name for one in group):  # and behind it, whether that is all
            ordered.insert(ordered.index(next(one for one in ordered if one.name == COUNT.name)) + 1, COUNT_CONFIRMED)
        column = 0
        for one in ordered:
            whole = _isWide(one)
            row, column = (row + 1, 0) if column and whole else (row, column)
            editor, label = self._editors[one.name], self._labels.get(one.name)
            editor.show()
            if label is None:
                self._grid.addWidget(editor, row, column, 1, 4 if whole else 2)
            else:
                self._grid.addWidget(label, row, column, 1, 2 if whole else 1)
                self._grid.addWidget(editor, row, column + 1 + whole, 1, 2 if whole else 1)
                label.show()
            row, column = (row + 1, 0) if whole or column else (row, 2)
        return row + bool(column)

    def _write(self, field, text: str, known: str) -> None:
        if field.name not in self._editors:
            self._make(field)
        if self._shown.get(field.name) == (text, known):
            return  # what is being typed stays until another value comes
        self._shown[field.name] = (text, known)
        editor = self._editors[field.name]
        if field.kind == FLAG:
            editor.checked = text.lower() in ("yes", "true", "1")
        elif field.kind == CHOICE:
            editor.setItemText(0, known or str(field.default or _("choose")))
            editor.currentIndex = max(editor.findData(text), 0)
        else:
            marked = _("{count}, marked so far") if field.name == COUNT.name else "{count}"
            wanted = _("{low} to {high}").format(low=f"{field.low:g}", high=f"{field.high:g}")
            editor.placeholderText = (
                marked.format(count=known) if known else _("optional") if field.optional else wanted
            )
            editor.text = text

    def _make(self, field) -> None:
        make = {FLAG: self._flag, CHOICE: self._choice}.get(field.kind, self._number)
        editor = make(field)
        editor.objectName = f"score_{field.name}"
        editor.toolTip = f"{field.title}: {field.allowed}. {field.hint}".rstrip(". ") + "."
        self._editors[field.name] = editor
        if field.kind != FLAG:
            editor.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)  # as wide as there is room
            editor.setMinimumWidth(60)
            self._labels[field.name] = qt.QLabel(f"{_title(field)}:", self._frame)
            self._labels[field.name].toolTip = editor.toolTip

    def _number(self, field):
        editor = qt.QLineEdit(self._frame)
        editor.connect("editingFinished()", lambda: self._onChanged(field.name, editor.text))
        return editor

    def _choice(self, field):
        editor = qt.QComboBox(self._frame)
        editor.addItem("", "")
        for choice in field.choices:
            if choice != field.default:
                editor.addItem(choice, choice)
        editor.connect("activated(int)", lambda: self._onChanged(field.name, editor.currentData))
        return editor

    def _flag(self, field):
        editor = qt.QCheckBox(_title(field), self._frame)
        editor.connect("clicked()", lambda: self._onChanged(field.name, "yes" if editor.checked else ""))
        return editor

    def _onChanged(self, name: str, text: str) -> None:
        text = text.strip()
        before, known = self._shown.get(name, ("", ""))
        if text != before:
            self._shown[name] = (text, known)
            self._onEdited(name, text)


def _title(field) -> str:
    """With a capital letter, and with the unit where the words do not have it."""
    unit = "" if field.unit in ("years", "months", "days") else field.unit.replace("mm3", "mm\N{SUPERSCRIPT THREE}")
    return f"{field.title[:1].upper()}{field.title[1:]}{f' ({unit})' if unit else ''}"


def _isWide(field) -> bool:
    """Whether it has a row to itself."""
    if field.name == COUNT_CONFIRMED.name:
        return True
    return len(_title(field)) > (_FLAG_LETTERS if field.kind == FLAG else _LABEL_LETTERS)


def _order(field) -> tuple:
    """What cannot be left out first; check boxes last, the long ones behind the short."""
    return field.kind == FLAG, field.optional or field.default is not None, _isWide(field)
