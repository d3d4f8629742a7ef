"""Modal dialogs: without a user they would wait for ever, so they raise unless the test has an answer ready."""

from contextlib import contextmanager

from PySide6 import QtWidgets

from . import slot_errors


class ModalDialogError(RuntimeError):
    """Code under test opened a modal dialog that no test answers; in Slicer without a user it would hang."""


_answers: dict[str, list] = {}
asked: list[tuple[str, tuple]] = []


@contextmanager
def answers(**prepared):
    """Answer modal dialogs by function name, e.g. ``answers(question=qt.QMessageBox.Yes, getOpenFileName="a.nrrd")``.

    A list gives one answer after the other; a callable is called with the dialog's arguments. Yields the list of
    (function name, arguments) that were asked.
    """
    before = dict(_answers)
    _answers.update(prepared)
    asked.clear()
    try:
        yield asked
    finally:
        _answers.clear()
        _answers.update(before)


def _answer(name: str, arguments: tuple):
    asked.append((name, arguments))
    if name not in _answers:
        texts = [argument for argument in arguments if isinstance(argument, str)]
        error = ModalDialogError(f"modal dialog {name}({', '.join(map(repr, texts))}) was opened and nobody answers it")
        slot_errors.collect(error)
        raise error
    answer = _answers[name]
    if isinstance(answer, list):
        return answer.pop(0)
    return answer(*arguments) if callable(answer) else answer


STATIC = {
    QtWidgets.QMessageBox: ("about", "aboutQt", "critical", "information", "question", "warning"),
    QtWidgets.QFileDialog: ("getExistingDirectory", "getOpenFileName", "getOpenFileNames", "getSaveFileName"),
    QtWidgets.QInputDialog: ("getDouble", "getInt", "getItem", "getMultiLineText", "getText"),
    QtWidgets.QColorDialog: ("getColor",),
    QtWidgets.QFontDialog: ("getFont",),
}
EXECUTED = (QtWidgets.QDialog, QtWidgets.QMessageBox, QtWidgets.QFileDialog, QtWidgets.QInputDialog, QtWidgets.QMenu)


def _static(name):
    return staticmethod(lambda *arguments, **keywords: _answer(name, arguments + tuple(keywords.values())))


def _executed():
    return lambda self, *arguments: _answer("exec_", (self, *arguments))


def install() -> None:
    """Replace every function that waits for the user."""
    for kind, names in STATIC.items():
        for name in names:
            setattr(kind, name, _static(name))
    for kind in EXECUTED:
        kind.exec = kind.exec_ = _executed()
