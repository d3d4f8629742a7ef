"""Folders that are to be written to, made before anything slow begins."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import InputError


def make_folder(folder: Path, what: str = "folder") -> None:
    """Make a folder and those above it, unless it is there. what: how it is called in the message.

    Raises InputError where it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The {what} {folder} cannot be written ({error.strerror}). Choose another.", "not-written", [folder]
        ) from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"The {what} {folder} cannot be written. Choose another.", "not-written", [folder])
