"""What a panel's status line says; both modules have one."""

import dataclasses
import time

from MAEMCLib.errors import MAEMCError

from .installing import MACHINE_CODES
from .signals import Signal

SILENT_SECONDS = 20
"""A process that computes and gives no sign of life for this long may hang, and is said to."""


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
