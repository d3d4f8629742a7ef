"""PythonQt's signals: string signatures, no more arguments than the slot takes, exceptions collected."""

import inspect

from PySide6 import QtCore
from shiboken6 import Shiboken

from . import qt_meta, slot_errors

# {C++ address of the sender: {normalized signature: [(slot, adapted slot)]}}, dropped when the sender dies.
_connections: dict[int, dict[str, list[tuple[object, object]]]] = {}


class SignalError(Exception):
    """A connection that PythonQt refuses: there a warning is printed and the program goes on unconnected."""


def accepted_arguments(slot) -> int | None:
    """How many positional arguments PythonQt passes to ``slot`` at most (None: all of them)."""
    function = slot
    bound = 0
    if inspect.ismethod(function):
        bound, function = 1, function.__func__
    elif not inspect.isroutine(function) and not inspect.isclass(function):
        call = inspect.getattr_static(type(function), "__call__", None)
        if inspect.isfunction(call):
            bound, function = 1, call
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & inspect.CO_VARARGS:
        return None
    return max(0, code.co_argcount - bound)


def adapt(slot, arguments: int | None = None):
    """Wrap ``slot`` as PythonQt calls it: arguments trimmed, exceptions printed (and collected for the test)."""
    if not callable(slot):
        raise SignalError(f"a slot must be callable, not {slot!r}")
    accepted = accepted_arguments(slot)
    limits = [limit for limit in (arguments, accepted) if limit is not None]
    limit = min(limits) if limits else None

    def call(*values):
        try:
            slot(*(values if limit is None else values[:limit]))
        except Exception as error:
            slot_errors.collect(error)

    return call


def normalized(signature: str) -> str:
    return bytes(QtCore.QMetaObject.normalizedSignature(signature).data()).decode()


def argument_count(signature: str) -> int:
    inner = signature[signature.index("(") + 1 : signature.rindex(")")].strip()
    return len(inner.split(",")) if inner else 0


def own_signals(kind: type) -> tuple[str, ...]:
    """Signatures that a stand-in class declares for itself, base class first."""
    return tuple(signature for base in reversed(kind.__mro__) for signature in base.__dict__.get("standin_signals", ()))


def native_signals(source: QtCore.QObject) -> tuple[str, ...]:
    """Signatures of the signals which Qt itself knows of ``source``, as Qt 5 has them."""
    return qt_meta.signals(type(source))


def signatures_named(source: QtCore.QObject, name: str) -> list[str]:
    """All signatures of the signal ``name``; the one that ``source.name.connect`` uses comes first."""
    own = [signature for signature in own_signals(type(source)) if signature.split("(")[0] == name]
    native = [signature for signature in native_signals(source) if signature.split("(")[0] == name]
    return own + sorted(native, key=argument_count, reverse=True)


def _resolve(source, signature: str) -> str:
    if "(" not in signature:
        raise SignalError(f"{signature!r} is no signature: write it with its argument types, like 'clicked(bool)'")
    wanted = normalized(signature)
    known = own_signals(type(source)) + native_signals(source)
    if wanted not in known:
        name = wanted.split("(")[0]
        others = [candidate for candidate in known if candidate.split("(")[0] == name]
        raise SignalError(
            f"{type(source).__name__} has no signal {signature!r}; "
            + (f"its signals of that name: {', '.join(others)}" if others else "no signal has that name")
        )
    return wanted


def _slots(source, signature: str) -> list[tuple[object, object]]:
    address = Shiboken.getCppPointer(source)[0]
    if address not in _connections:
        _connections[address] = {}
        QtCore.QObject.destroyed.__get__(source).connect(lambda *_: _connections.pop(address, None))
    return _connections[address].setdefault(signature, [])


def connect(source: QtCore.QObject, signature: str, slot) -> bool:
    """Connect the signal with exactly this ``signature``; raises SignalError where PythonQt would only warn."""
    signature = _resolve(source, signature)
    adapted = adapt(slot, argument_count(signature))
    _slots(source, signature).append((slot, adapted))
    if signature not in own_signals(type(source)):
        QtCore.QObject.connect(source, QtCore.SIGNAL(signature), adapted)
    return True


def disconnect(source: QtCore.QObject, signature: str, slot=None) -> bool:
    """Undo ``connect`` with the same arguments; raises SignalError when there is no such connection."""
    signature = _resolve(source, signature)
    slots = _slots(source, signature)
    matching = [entry for entry in slots if slot is None or entry[0] == slot]
    if not matching and slot is not None:
        raise SignalError(f"{type(source).__name__}: {slot!r} is not connected to {signature}")
    for entry in matching:
        slots.remove(entry)
        if signature not in own_signals(type(source)):
            QtCore.QObject.disconnect(source, QtCore.SIGNAL(signature), entry[1])
    return True


def emit(source: QtCore.QObject, signature: str, *arguments) -> None:
    """Emit a signal. A stand-in's own signals never go through Qt, which cannot carry VTK objects by name."""
    signature = _resolve(source, signature)
    if signature not in own_signals(type(source)):
        QtCore.QObject.emit(source, QtCore.SIGNAL(signature), *arguments)
    elif not source.signalsBlocked():
        for _, adapted in list(_slots(source, signature)):
            adapted(*arguments)


class BoundSignal:
    """What ``button.clicked`` is: ``connect``, ``disconnect``, ``emit``, and callable to emit."""

    __slots__ = ("_name", "_source")

    def __init__(self, source, name):
        self._source, self._name = source, name

    def _signature(self, arguments: int | None = None) -> str:
        signatures = signatures_named(self._source, self._name)
        if arguments is None:
            return signatures[0]
        fitting = [signature for signature in signatures if argument_count(signature) == arguments]
        if not fitting:
            raise ValueError(f"Called {self._name} with wrong arguments; it has {', '.join(signatures)}")
        return fitting[0]

    def connect(self, slot) -> bool:
        return connect(self._source, self._signature(), slot)

    def disconnect(self, slot=None) -> bool:
        return disconnect(self._source, self._signature(), slot)

    def emit(self, *arguments) -> None:
        emit(self._source, self._signature(len(arguments)), *arguments)

    __call__ = emit

    def __repr__(self):
        return f"<signal {self._name} of {type(self._source).__name__}>"
