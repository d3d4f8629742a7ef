"""``qt.QUiLoader``: loads .ui files with the stand-in widgets, and refuses what Slicer would quietly get wrong.

Slicer shows an empty widget for an unknown class and ignores a misspelled property; here both raise ``UIError``.
"""

from xml.etree import ElementTree

from PySide6 import QtCore, QtUiTools

from . import qt_meta, qt_signals, qt_strict

# {class name: stand-in class}; filled by the modules of widgets.
custom_widgets: dict[str, type] = {}


class UIError(Exception):
    """A .ui file that would not work in Slicer, or uses a widget which the stand-ins do not have."""


def register(kind: type) -> type:
    """Class decorator: the widget is known to .ui files, and is a C++ class to scripts."""
    kind.standin_cpp = True
    custom_widgets[kind.__name__] = kind
    return kind


class _Builder(QtUiTools.QUiLoader):
    def __init__(self):
        super().__init__()
        self.created = []
        self.names = set(self.availableWidgets()) | {"Line"}

    def createWidget(self, class_name, parent=None, name=""):
        if class_name in custom_widgets:
            widget = custom_widgets[class_name](parent)
            widget.setObjectName(name)
        elif class_name in self.names:
            widget = super().createWidget(class_name, parent, name)
        else:
            raise UIError(f"unknown widget class {class_name} (object {name})")
        self.created.append(widget)
        return widget


def _take_connections(root) -> list[tuple[str, str, str, str]]:
    found = []
    for connections in root.findall("connections"):
        found.extend(
            tuple(connection.findtext(part) for part in ("sender", "signal", "receiver", "slot"))
            for connection in connections.findall("connection")
        )
        root.remove(connections)
    return found


def _is_dynamic(element) -> bool:
    return element.get("stdset") == "0"


def _take_symbolic(root) -> list[tuple[str, str, str]]:
    """Remove enum and set properties of the stand-ins' own classes: (object, property, symbols)."""
    found = []
    for widget in root.iter("widget"):
        if widget.get("class") not in custom_widgets:
            continue
        facts = qt_meta.properties(custom_widgets[widget.get("class")])
        for element in widget.findall("property"):
            value = next(iter(element), None)
            known = facts.get(element.get("name"))
            own = known is None or known.type_name in ("int", "QVariant", "PyObject")
            if value is not None and value.tag in ("enum", "set") and own:
                found.append((widget.get("name"), element.get("name"), value.text or ""))
                widget.remove(element)
    return found


def _check(root, builder) -> None:
    for widget in root.iter("widget"):
        class_name = widget.get("class")
        if class_name not in custom_widgets and class_name not in builder.names:
            raise UIError(f"unknown widget class {class_name} (object {widget.get('name')})")


def _check_properties(root, objects) -> None:
    for widget in root.iter("widget"):
        instance = objects.get(widget.get("name"))
        ignored = getattr(type(instance), "standin_ignored_properties", ())
        for element in widget.findall("property"):
            name = element.get("name")
            if _is_dynamic(element) or name in ignored or widget.get("class") == "Line":
                continue
            if instance is None or name not in qt_meta.properties(type(instance)):
                raise UIError(f"{widget.get('class')} {widget.get('name')} has no property {name}")


def _symbol_value(instance, text: str) -> int:
    value = 0
    for symbol in filter(None, text.split("|")):
        try:
            value |= int(getattr(type(instance), symbol.split("::")[-1]))
        except AttributeError:
            raise UIError(f"{type(instance).__name__} has no enum value {symbol}") from None
    return value


def _connect(objects, sender, signal, receiver, slot) -> None:
    for name in (sender, receiver):
        if name not in objects:
            raise UIError(f"a connection names an object that does not exist: {name}")
    target, slot_name = objects[receiver], slot.split("(")[0]
    function = getattr(target, slot_name, None)
    if isinstance(function, qt_signals.BoundSignal) or callable(function):
        limited = qt_signals.argument_count(slot)
        qt_signals.connect(objects[sender], signal, lambda *values: function(*values[:limited]))
    else:
        raise UIError(f"{type(target).__name__} {receiver} has no slot {slot}")


class QUiLoader:
    """``qt.QUiLoader``: ``load(device, parent=None)`` returns the widget."""

    def load(self, device, parent=None):
        root = ElementTree.fromstring(bytes(device.readAll().data()))
        builder = _Builder()
        _check(root, builder)
        connections = _take_connections(root)
        symbolic = _take_symbolic(root)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root, encoding="utf-8"))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        qt_strict.drop_new_attributes = True
        try:
            widget = builder.load(buffer, parent)
        finally:
            qt_strict.drop_new_attributes = False
        if widget is None:
            raise UIError(f"the .ui file could not be loaded: {builder.errorString()}")
        everything = [widget, *qt_strict.find_children(widget)]
        objects = {QtCore.QObject.objectName(child): child for child in everything}
        _check_properties(root, objects)
        for name, attribute, text in symbolic:
            if attribute in qt_meta.properties(type(objects[name])):
                qt_strict.set_property(objects[name], attribute, _symbol_value(objects[name], text))
        for connection in connections:
            _connect(objects, *connection)
        # PySide6 forgets the Python half of a child nobody refers to; the root keeps them.
        widget._standin_children = everything
        return widget
