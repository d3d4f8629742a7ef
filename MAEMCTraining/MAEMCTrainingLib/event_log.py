"""Reading a job's events while they are written."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any


class EventLog:
    """events.jsonl as it grows: ``refresh`` reads what is new, and everything again after a continued run cut it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "events.jsonl"
        self.events: list[dict[str, Any]] = []
        self._offset = 0
        self._file: int | None = None

    def refresh(self) -> bool:
        """Read on; True where ``events`` changed."""
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
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):
                self.events.append(json.loads(line))
        return changed or bool(whole)
