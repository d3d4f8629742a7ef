"""Give PySide6's classes the rules of PythonQt: properties are attributes, and C++ objects take no new ones.

On plain PySide6 ``widget.enabled = False`` makes a Python attribute and does nothing, and ``label.text()`` works;
in Slicer the first disables the widget and the second is a TypeError. Here both are as in Slicer.
"""

import enum
import types

from PySide6 import QtCore
from shiboken6 import Shiboken

from . import qt_meta, qt_signals

# Names which the stand-ins use for their own data on Qt objects.
PRIVATE = "_standin"

# While QUiLoader runs: PySide6 makes every child an attribute of the root widget; PythonQt does not.
drop_new_attributes = False


def to_python(value):
    """A property's value as PythonQt gives it: lists of strings are tuples, enums and flags plain ints."""
    if isinstance(value, enum.Enum):
        return int(value.value)
    if isinstance(value, list):
        return tuple(value)
    return value


class QtProperty:
    """A Q_PROPERTY as an attribute. Static functions of the same name stay reachable from the class.

    Where PySide6 has a method for the getter, that is called: it does not go through the virtual function table, as
    reading the property by name would. Shiboken looks for an override of ``sizeHint`` by reading the attribute, so
    the virtual call would come back here without end.
    """

    def __init__(self, name: str, original=None):
        self.name, self.original = name, original
        self.calls_original = isinstance(original, types.MethodDescriptorType)

    def __get__(self, instance, owner=None):
        if instance is None:
            if self.original is None:
                return self
            bind = getattr(self.original, "__get__", None)
            return bind(None, owner) if bind else self.original
        if self.calls_original:
            return to_python(self.original(instance))
        return to_python(QtCore.QObject.property(instance, self.name))

    def __set__(self, instance, value):
        set_property(instance, self.name, value)


def set_property(instance, name: str, value) -> None:
    """Write a Q_PROPERTY; raises AttributeError where Qt would leave it as it was."""
    facts = qt_meta.properties(type(instance))[name]
    if not facts.writable:
        raise AttributeError(f"Property '{name}' of type '{facts.type_name}' is not writable")
    if isinstance(value, tuple):
        value = list(value)
    accepted = value is not None or facts.type_name in ("QVariant", "QObject*", "PyObject")
    if not accepted or not QtCore.QObject.setProperty(instance, name, value):
        raise AttributeError(
            f"Property '{name}' of type '{facts.type_name}' does not accept an object of type "
            f"{type(value).__name__} ({value!r})"
        )


def is_cpp(kind: type) -> bool:
    """Is this the class of a C++ object in Slicer (a PySide6 class or a stand-in), and no Python subclass of one?"""
    return kind.__module__.startswith("PySide6.") or "standin_cpp" in kind.__dict__


def find_children(parent, kind=None, name: str = ""):
    """All descendants of a class, given as a class or by its C++ name as PythonQt allows."""
    found = []
    for child in QtCore.QObject.children(parent):
        fits = kind is None or (child.inherits(kind) if isinstance(kind, str) else isinstance(child, kind))
        if fits and (not name or QtCore.QObject.objectName(child) == name):
            found.append(child)
        found.extend(find_children(child, kind, name))
    return tuple(found)


def _inherits(instance, name: str) -> bool:
    native = QtCore.QObject.inherits.__get__(instance)(name)
    return native or any(base.__name__ == name for base in type(instance).__mro__)


def _connect(self, *arguments):
    if len(arguments) == 3 and str(arguments[1]).startswith("2"):  # PySide6's own code calls it so
        return qt_signals.connect(arguments[0], arguments[1][1:], arguments[2])
    signature, slot = arguments
    return qt_signals.connect(self, signature, slot)


# What PythonQt adds to every QObject, or does differently from PySide6.
METHODS = {
    "connect": lambda self: lambda *arguments: _connect(self, *arguments),
    "disconnect": lambda self: lambda signature, slot=None: qt_signals.disconnect(self, signature, slot),
    "emit": lambda self: lambda signature, *arguments: qt_signals.emit(self, signature, *arguments),
    "className": lambda self: lambda: qt_meta.class_name(type(self)),
    "inherits": lambda self: lambda name: _inherits(self, name),
    "findChildren": lambda self: lambda kind=None, name="": find_children(self, kind, name),
    "findChild": lambda self: lambda kind=None, name="": next(iter(find_children(self, kind, name)), None),
    "children": lambda self: lambda: tuple(QtCore.QObject.children(self)),
    "delete": lambda self: lambda: Shiboken.delete(self),
}


def _object_getattribute(original):
    def getattribute(self, name):
        if name in METHODS:
            return METHODS[name](self)
        if name == "name":
            return QtCore.QObject.property(self, "objectName")
        value = None
        try:
            value = original(self, name)
        except AttributeError:
            if any(signature.split("(")[0] == name for signature in qt_signals.own_signals(type(self))):
                return qt_signals.BoundSignal(self, name)
            if not name.startswith("_") and name.encode() in QtCore.QObject.dynamicPropertyNames(self):
                return to_python(QtCore.QObject.property(self, name))
            raise
        if isinstance(value, QtCore.SignalInstance):
            if name in qt_meta.QT6_ONLY_SIGNALS:
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r} before Qt 6")
            return qt_signals.BoundSignal(self, name)
        return value

    return getattribute


def _class_attribute(kind: type, name: str):
    for base in kind.__mro__:
        if name in base.__dict__:
            return base.__dict__[name]
    return None


def _setattr(original, is_object: bool):
    def set_attribute(self, name, value):
        kind = type(self)
        if name.startswith(PRIVATE) or isinstance(value, QtCore.SignalInstance):
            original(self, name, value)  # PySide6 keeps each signal that was asked for on its object
            return
        if is_object and name == "name":
            name = "objectName"
        attribute = _class_attribute(kind, name)
        if isinstance(attribute, (QtProperty, QtCore.Property)):
            set_property(self, name, value)
        elif hasattr(type(attribute), "__set__"):
            original(self, name, value)
        elif is_object and name.encode() in QtCore.QObject.dynamicPropertyNames(self):
            QtCore.QObject.setProperty(self, name, value)
        elif not is_cpp(kind):
            original(self, name, value)
        elif not drop_new_attributes:
            raise AttributeError(
                f"'{kind.__name__}' object: '{name}' can not be set: PythonQt refuses new attributes on C++ objects"
                if attribute is None
                else f"'{kind.__name__}' object: the method or signal '{name}' can not be overwritten"
            )

    return set_attribute


_patched: set[type] = set()


def make_strict(kind: type) -> None:
    """Patch one PySide6 class (once): Q_PROPERTYs from its meta-object, attribute rules, PythonQt's methods."""
    if kind in _patched:
        return
    _patched.add(kind)
    is_object = issubclass(kind, QtCore.QObject)
    original = kind.__getattribute__
    if is_object:
        inherited = [qt_meta.properties(base) for base in kind.__mro__[1:] if hasattr(base, "staticMetaObject")]
        for name in qt_meta.properties(kind):
            if name in kind.__dict__ or not any(name in names for names in inherited):
                setattr(kind, name, QtProperty(name, kind.__dict__.get(name)))
    # Not the class's own function: Python refuses it once a base class has a function in Python (here: every one).
    kind.__setattr__ = _setattr(Shiboken.Object.__setattr__, is_object)
    if is_object:
        kind.__getattribute__ = _object_getattribute(original)
