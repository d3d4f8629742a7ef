"""The audit log: audit.jsonl in MAEMC_HOME, a JSON object a line, which is only ever appended to.

Each line states the SHA-256 of the line before it (``previous``), so that a line that was changed or taken out is
noticed. Lines hold pseudonyms and numbers, nothing that names a patient, a file or a reader.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files.appending import append_line
from ..files.strict_json import parse

SCHEMA = 1
_WHAT = "The audit log"


class AuditLog:
    """The log of a home. damaged: numbers of lines, from 1, that are torn or no entries. unchained: of those that do
    not follow the line before them, which was changed or is missing. Both grow as the log is read."""

    def __init__(self, home: Path) -> None:
        self.path = home / "audit.jsonl"
        self.damaged: list[int] = []
        self.unchained: list[int] = []
        self._offset = self._lines = 0
        self._previous = _hash(b"")

    def append(self, event: str, facts: dict[str, Any]) -> None:
        """Write an entry: what happened, and what is to be known of it. Raises InputError where the disk does not take
        it, ValueError for facts that are no JSON."""
        entry = {"schema": SCHEMA, "time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}

        def line_after(last: bytes) -> bytes:
            return json.dumps({**entry, **facts, "previous": _hash(last)}, allow_nan=False).encode("ascii")

        append_line(self.path, line_after, _WHAT)

    def fresh(self) -> list[dict[str, Any]]:
        """The entries written since the last call, by whatever process. A line that is being written comes next time.

        Raises InputError where the log cannot be read, or is shorter than it was: it was then rewritten.
        """
        entries = []
        for line in self._fresh_lines():
            self._lines += 1
            entry = _entry(line)
            if entry is None:
                self.damaged.append(self._lines)
            elif entry.get("previous") != self._previous:
                self.unchained.append(self._lines)
            self._previous = _hash(line)
            if entry is not None:
                entries.append(entry)
        return entries

    def _fresh_lines(self) -> list[bytes]:
        try:
            with open(self.path, "rb") as stream:
                if stream.seek(0, 2) < self._offset:
                    raise InputError(
                        f"{_WHAT} {self.path} is shorter than it was: somebody rewrote it. Restore it from a backup.",
                        "audit-rewritten",
                        (self.path,),
                    )
                stream.seek(self._offset)
                content = stream.read()
        except FileNotFoundError:
            content = b""
        except OSError as error:
            raise InputError(
                f"{_WHAT} {self.path} cannot be read ({error.strerror}). Correct its rights, or set MAEMC_HOME.",
                "audit-unreadable",
                (self.path,),
            ) from error
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.split(b"\n")[:-1]


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _entry(line: bytes) -> dict[str, Any] | None:
    """None for a line that a power cut or somebody's hand has spoilt."""
    try:
        entry = parse(line)
    except ValueError:
        return None
    known = isinstance(entry, dict) and isinstance(entry.get("event"), str) and isinstance(entry.get("time"), str)
    return entry if known else None
