"""What a panel's status line says, and signals; both modules have them."""

import dataclasses
import time
from collections.abc import Callable

from MAEMCLib.errors import MAEMCError
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from .installing import MACHINE_CODES

SILENT_SECONDS = 20
"""A process that computes and gives no sign of life for this long may hang, and is said to."""


class Signal:
    """How one who notices something tells those who act on it, without knowing them: it calls every function that is
    connected, in the order in which they were."""

    def __init__(self) -> None:
        self._listeners: list[Callable] = []

    def connect(self, listener: Callable) -> None:
        self._listeners.append(listener)

    def emit(self, *arguments) -> None:
        for listener in list(self._listeners):
            listener(*arguments)

    def disconnectAll(self) -> None:
        self._listeners.clear()


@dataclasses.dataclass(frozen=True)
class Status:
    """What the status line says. kind: "idle", "busy" or "error"; code names an error in a word, for programs. since:
    when it began, in seconds of the monotonic clock."""

    kind: str = "idle"
    text: str = ""
    code: str = ""
    since: float = dataclasses.field(default_factory=time.monotonic, compare=False)


class StatusLine:
    """The latest ``status``. changed: a Signal for whoever shows it, which also tells of other news."""

    def __init__(self) -> None:
        self.status = Status()
        self.changed = Signal()

    def set(self, status: Status) -> None:
        """Say something."""
        self.status = status
        self.changed.emit()

    def fail(self, error: MAEMCError) -> None:
        """Say what went wrong."""
        self.set(Status("error", str(error), error.code))

    def forgetInput(self) -> None:
        """What was said of the input is no longer true: the input is another one."""
        if self.status.text and self.status.kind != "busy" and self.status.code not in MACHINE_CODES:
            self.set(Status())


class PanelLogic(ScriptedLoadableModuleLogic):
    """What the logic of both modules has: a ``statusLine``, and its Signal ``changed``."""

    def __init__(self) -> None:
        super().__init__()
        self.statusLine = StatusLine()
        self.changed = self.statusLine.changed

    @property
    def status(self) -> Status:
        """What the status line says."""
        return self.statusLine.status
