"""Reading a job's events while they are written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from MAEMCLib.files.strict_json import is_count, is_number, parse_json

from .files import is_moment

_COUNTS = ("step", "epoch", "fold")
_FIGURES = ("learning_rate", "images_per_second", "seconds", "memory_mb")


class EventLog:
    """events.jsonl as it grows: ``refresh`` reads what is new, and everything again after a continued run cut it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "events.jsonl"
        self.events: list[dict[str, Any]] = []
        self._offset = 0
        self._file: int | None = None

    def refresh(self) -> bool:
        """Read on; True where ``events`` changed. What is no event of ours is passed over."""
        try:
            with open(self.path, "rb") as stream:
                status = os.fstat(stream.fileno())
                changed = status.st_ino != self._file or status.st_size < self._offset
                if changed:
                    self.events, self._offset, self._file = [], 0, status.st_ino
                stream.seek(self._offset)
                fresh = stream.read()
        except OSError:
            return False
        whole = fresh[: fresh.rfind(b"\n") + 1]  # a line that is being written is read the next time
        self._offset += len(whole)
        self.events += [event for line in whole.splitlines() if (event := read_event(line)) is not None]
        return changed or bool(whole)


def read_events(folder: Path) -> list[dict[str, Any]]:
    """All events of a job so far; none of a folder without any."""
    log = EventLog(folder)
    log.refresh()
    return log.events


def read_event(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None for a line that a power cut or somebody's hand has spoilt."""
    try:
        event = parse_json(line.decode("utf-8"))
    except ValueError:
        return None
    return event if isinstance(event, dict) and all(_is_sound(*item) for item in event.items()) else None


def _is_sound(key: str, value: object) -> bool:
    if key in _COUNTS:
        return is_count(value)
    if key in _FIGURES or key.split("_")[0] == "loss":
        return is_number(value)
    return is_moment(value) if key == "time" else isinstance(value, str) if key == "phase" else True
