"""Folders that are to be written to, made before anything slow begins."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..errors import InputError


def make_folder(folder: Path, what: str = "folder") -> None:
    """Make a folder and those above it, unless it is there. what: how it is called in the message.

    Raises InputError where it cannot be made, or nothing can be written in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # rights alone do not tell of a full or read-only disk
            pass
    except OSError as error:
        raise InputError(
            f"The {what} {folder} cannot be written ({error.strerror}). Choose another.", "not-written", [folder]
        ) from error
