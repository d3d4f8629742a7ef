"""What Qt knows of a class: its name, properties and signals, as plain Python data.

The wrapper of a QMetaObject must not be asked for from an object: it dies with the object, although the class still
uses it. So everything is read once a class from ``staticMetaObject``.
"""

import functools
from typing import NamedTuple

from PySide6 import QtCore

# Signals and properties that a released Slicer (Qt 5.15) does not have: using them works here only.
QT6_ONLY_SIGNALS = frozenset({"checkStateChanged"})
QT6_ONLY_PROPERTIES = frozenset({"accessibleIdentifier", "labelDrawingMode"})


class PropertyFacts(NamedTuple):
    name: str
    type_name: str
    writable: bool


@functools.cache
def properties(kind: type) -> dict[str, PropertyFacts]:
    """{name: facts} of every Q_PROPERTY of a class, inherited ones included."""
    meta = kind.staticMetaObject
    described = [meta.property(index) for index in range(meta.propertyCount())]
    facts = [PropertyFacts(each.name(), each.typeName(), each.isWritable()) for each in described]
    return {each.name: each for each in facts if each.name not in QT6_ONLY_PROPERTIES}


@functools.cache
def signals(kind: type) -> tuple[str, ...]:
    """The signatures of every signal of a class which Qt itself emits, inherited ones included."""
    meta = kind.staticMetaObject
    methods = [meta.method(index) for index in range(meta.methodCount())]
    signatures = [
        bytes(method.methodSignature().data()).decode()
        for method in methods
        if method.methodType() == QtCore.QMetaMethod.MethodType.Signal
    ]
    return tuple(signature for signature in signatures if signature.split("(")[0] not in QT6_ONLY_SIGNALS)


@functools.cache
def class_name(kind: type) -> str:
    """The C++ class's name; a Python subclass has the name of its C++ base, as in PythonQt."""
    for base in kind.__mro__:
        if base.__module__.startswith("PySide6.") or "standin_cpp" in base.__dict__:
            return base.__name__
    return kind.__name__
