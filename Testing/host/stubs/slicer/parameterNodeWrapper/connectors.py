"""Widgets and parameters: which exact widget class carries which type, and how it is read, written and followed."""

import dataclasses
import enum
import pathlib

from .types import findFirstAnnotation, getNodeTypes, isNodeOrUnionOfNodes, splitAnnotations
from .validators import Choice, Maximum, Minimum, WithinRange


@dataclasses.dataclass
class Decimals:
    """Annotation: digits after the point that the widget shows."""

    value: int


@dataclasses.dataclass
class SingleStep:
    """Annotation: the widget's step."""

    value: float


class GuiConnector:
    """One widget: ``read``, ``write``, and ``onChanged(callback)`` (None to disconnect)."""

    def __init__(self, widget, signal, read, write):
        self._widget, self._signal, self.read, self.write = widget, signal, read, write
        self._callback = None

    def changed(self):
        if self._callback:
            self._callback()

    def onChanged(self, callback):
        self._callback = callback
        signal = getattr(self._widget, self._signal)
        if callback is None:
            signal.disconnect(self.changed)
        else:
            signal.connect(self.changed)

    def widget(self):
        return self._widget


def _attribute(widget, signal, name):
    return GuiConnector(widget, signal, lambda: getattr(widget, name), lambda value: setattr(widget, name, value))


def _limits(annotations):
    within = findFirstAnnotation(annotations, WithinRange)
    if within is not None:
        return within.minimum, within.maximum
    low, high = findFirstAnnotation(annotations, Minimum), findFirstAnnotation(annotations, Maximum)
    return low and low.minimum, high and high.maximum


def _number(widget, annotations, unbounded):
    low, high = _limits(annotations)
    if widget.className() in ("QSlider", "ctkSliderWidget") and (low is None or high is None):
        raise RuntimeError(f"a {widget.className()} needs a bounded parameter (WithinRange, or Minimum and Maximum)")
    for kind, name in ((Decimals, "decimals"), (SingleStep, "singleStep")):
        annotation = findFirstAnnotation(annotations, kind)
        if annotation is not None:
            setattr(widget, name, annotation.value)
    widget.minimum = unbounded[0] if low is None else low
    widget.maximum = unbounded[1] if high is None else high
    return _attribute(widget, "valueChanged", "value")


def _combo(widget, choices):
    """``choices``: [(label, value)]; what the .ui file lists is replaced."""
    widget.clear()
    for label, _ in choices:
        widget.addItem(label)
    values = [value for _, value in choices]

    def write(value):
        if value not in values:
            raise ValueError(f"Unable to find value {value!r} in choices {values}")
        widget.currentIndex = values.index(value)

    return GuiConnector(widget, "currentIndexChanged", lambda: values[widget.currentIndex], write)


def _node(widget, datatype):
    widget.nodeTypes = getNodeTypes(datatype)
    return GuiConnector(widget, "currentNodeChanged", widget.currentNode, widget.setCurrentNode)


def _path(widget, kind, signal, name):
    return GuiConnector(
        widget, signal, lambda: kind(getattr(widget, name)), lambda value: setattr(widget, name, str(value))
    )


def _text(widget, annotations):
    return GuiConnector(widget, "textChanged", lambda: widget.toPlainText(), lambda value: widget.setPlainText(value))


def createGuiConnector(widget, datatype) -> GuiConnector:
    """The connector of exactly this widget class to this type; raises RuntimeError where Slicer has none."""
    import ctk
    import qt
    import slicer

    kind, annotations = splitAnnotations(datatype)
    exact = type(widget)
    choice = findFirstAnnotation(annotations, Choice)
    simple = isinstance(kind, type)
    if exact in (qt.QCheckBox, qt.QPushButton) and kind is bool:
        if exact is qt.QPushButton:
            widget.checkable = True
        return _attribute(widget, "stateChanged" if exact is qt.QCheckBox else "toggled", "checked")
    if exact in (qt.QSlider, qt.QSpinBox) and kind is int:
        return _number(widget, annotations, (-(2**31), 2**31 - 1))
    if exact in (qt.QDoubleSpinBox, ctk.ctkSliderWidget) and kind is float:
        return _number(widget, annotations, (float("-inf"), float("inf")))
    if exact is qt.QComboBox and simple and issubclass(kind, enum.Enum):
        label = getattr(kind, "label", lambda value: value.name)
        return _combo(widget, [(label(value), value) for value in kind])
    if exact is qt.QComboBox and kind in (int, float, str, bool):
        if choice is None:
            raise RuntimeError("a QComboBox needs a parameter with a Choice annotation")
        return _combo(widget, [(str(value), value) for value in choice.choices])
    if exact is qt.QLineEdit and kind is str:
        return _attribute(widget, "textChanged", "text")
    if exact is qt.QTextEdit and kind is str:
        return _text(widget, annotations)
    if exact is ctk.ctkPathLineEdit and simple and issubclass(kind, pathlib.PurePath):
        return _path(widget, kind, "currentPathChanged", "currentPath")
    if exact is ctk.ctkDirectoryButton and simple and issubclass(kind, pathlib.PurePath):
        return _path(widget, kind, "directoryChanged", "directory")
    if exact is slicer.qMRMLNodeComboBox and isNodeOrUnionOfNodes(datatype):
        return _node(widget, datatype)
    raise RuntimeError(f"Unable to create GUI connector from datatype '{datatype}' to widget type '{exact}'")
