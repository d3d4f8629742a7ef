"""What ``job.json`` and ``state.json`` may hold, checked when they are read: folders are copied, disks run full, and
people open files. A file that does not hold it is damaged, and its job says so; the other jobs do not notice. And the
events, read while they are written; and the notes of jobs in MAEMC_HOME: where each lies, and what continuing it needs
beside its folder.
"""

import contextlib
import datetime
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from MAEMCLib.errors import InputError
from MAEMCLib.files.atomic import read_json, write_json
from MAEMCLib.files.strict_json import is_count, is_number, parse_json

SCHEMA = 2
STATUSES = ("queued", "running", "stopped", "failed", "finished")
_COUNTS = ("step", "epoch", "fold")
_FIGURES = ("learning_rate", "images_per_second", "seconds", "memory_mb")
_LARGEST_STATE = 1 << 20
_LARGEST_SETTINGS = 1 << 26


def read_settings(folder: Path) -> dict[str, Any]:
    """job.json. Raises InputError where the folder is no job, or the file is damaged."""
    path = folder / "job.json"
    if not _is_file(path):
        raise InputError(
            f"{folder} is no job folder: it holds no job.json. maemc-train jobs list names the known ones.",
            "no-job",
            (folder,),
        )
    settings = _read_object(path, "The job's settings", _LARGEST_SETTINGS)
    if settings.get("schema") != SCHEMA:
        raise InputError(f"{path} is of no job of this version (schema {SCHEMA}).", "job-schema", (path,))
    _check(path, settings, _SETTINGS, ("kind", "created"))
    return settings


def read_state(folder: Path) -> dict[str, Any]:
    """state.json, or an empty one for a job that has not begun. Raises InputError where the file is damaged."""
    path = folder / "state.json"
    if not _is_file(path):
        return {}
    state = _read_object(path, "The job's state", _LARGEST_STATE)
    _check(path, state, _STATE, ("status", "updated"))
    return state


def _read_object(path: Path, what: str, largest: int) -> dict[str, Any]:
    values = read_json(path, what, largest)
    if not isinstance(values, dict):
        raise _damaged(path, "it holds no object")
    return values


def differing_keys(first: dict[str, Any], second: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted keys at which two stored configurations differ, with both values."""
    lines = []
    for key in sorted(first.keys() | second.keys()):
        one, two = first.get(key), second.get(key)
        if isinstance(one, dict) and isinstance(two, dict):
            lines += differing_keys(one, two, f"{prefix}{key}.")
        elif one != two:
            lines.append(f"{prefix}{key} ({json.dumps(one)} there, {json.dumps(two)} here)")
    return lines


def is_moment(value: object) -> bool:
    """Whether a value is a time with its zone, ISO 8601."""
    try:
        return isinstance(value, str) and datetime.datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).", "unreadable", (path,)) from error


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def is_command(value: object) -> bool:
    """Whether a value is a command that ``jobs resume`` can start again."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("arguments"), list)
        and all(map(_is_text, value["arguments"]))
        and _is_text(value.get("directory", ""))
    )


_SETTINGS: dict[str, Callable[[object], bool]] = {
    "kind": _is_text,
    "command": is_command,  # of jobs of earlier versions; now it is in the job's note
    "created": is_moment,
    "configuration": lambda value: isinstance(value, dict),
    "data_fingerprint": _is_text,
}
_STATE: dict[str, Callable[[object], bool]] = {
    "status": lambda value: value in STATUSES,
    **dict.fromkeys(("step", "steps", "epoch", "epochs", "part", "fold", "folds", "pid"), is_count),
    "parts": lambda value: is_count(value) and value > 0,
    **dict.fromkeys(("started", "updated"), is_moment),
    **dict.fromkeys(("stage", "message", "host"), _is_text),
    "seconds_left": lambda value: value is None or is_number(value),
}


def _check(path: Path, values: dict[str, Any], kinds: dict[str, Callable], needed: tuple[str, ...]) -> None:
    for key, sound in kinds.items():
        if key in values and not sound(values[key]):
            raise _damaged(path, f"{key} is {str(values[key])[:50]!r}")
        if key not in values and key in needed:
            raise _damaged(path, f"{key} is missing")


def _damaged(path: Path, what: str) -> InputError:
    text = f"{path} is damaged: {what}. Bring it back from a copy, or begin the job anew in another folder."
    return InputError(text, "damaged-job", (path,))


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


def registry(home: Path) -> Path:
    """The folder of the notes."""
    return home / "jobs"


def remember(folder: Path, home: Path, **values: Any) -> None:
    """Note where the job lies, so that ``jobs list`` finds it again, and what continuing it needs beside its folder."""
    with contextlib.suppress(InputError, OSError):  # the job itself does not depend on being listed
        registry(home).mkdir(parents=True, exist_ok=True)
        note = read_note(folder, home) | values | {"folder": str(folder.resolve())}
        write_json(_note_path(folder, home), note)


def read_note(folder: Path, home: Path) -> dict[str, Any]:
    """What is noted of a job; {} where nothing can be read."""
    path = _note_path(folder, home)
    if not path.is_file():
        return {}
    try:
        note = read_json(path, "A job's note")
    except InputError:
        return {}
    return note if isinstance(note, dict) else {}


def _note_path(folder: Path, home: Path) -> Path:
    return registry(home) / f"{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]}.json"


def damaged_notes(home: Path) -> dict[Path, str]:
    """{note of where a job lies: why it cannot be read}; which job it was, nobody knows any more."""
    reasons = {}
    for path in sorted(registry(home).glob("*.json")):
        try:
            noted(path)
        except InputError as error:
            reasons[path] = str(error)
    return reasons


def noted(path: Path) -> Path:
    """The folder that a note names. Raises InputError."""
    try:
        note = read_json(path, "A job's note", 1 << 16)
        folder = note["folder"] if isinstance(note, dict) else None
        if not isinstance(folder, str) or not os.path.isabs(folder) or "\0" in folder:
            raise InputError(f"A job's note ({path}) names no folder.")
    except (InputError, KeyError) as error:
        text = f"{error} Delete it; the job is found again when its command is repeated."
        raise InputError(text, "no-note", (path,)) from error
    return Path(folder)
