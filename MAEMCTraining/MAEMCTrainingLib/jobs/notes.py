"""The notes of jobs in MAEMC_HOME: where each lies, and what continuing it needs beside its folder."""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

from MAEMCLib.errors import InputError
from MAEMCLib.files.atomic import read_json, write_json


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
    try:
        note = read_json(_note_path(folder, home), "A job's note")
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
