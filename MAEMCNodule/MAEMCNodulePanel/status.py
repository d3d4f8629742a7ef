"""What a panel's status line says; both modules have one."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Status:
    """What the status line says. kind: "idle", "busy" or "error"; code names an error in a word, for programs."""

    kind: str = "idle"
    text: str = ""
    code: str = ""
