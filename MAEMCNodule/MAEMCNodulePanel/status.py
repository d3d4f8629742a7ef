"""What a panel's status line says; both modules have one."""

import dataclasses
import time

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
