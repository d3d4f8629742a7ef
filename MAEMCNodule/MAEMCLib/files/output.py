"""Folders that results are written to."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..errors import InputError


def output_folder(name: str | Path, instead: str = "Choose another.") -> Path:
    """Make a folder before anything slow begins, and try whether it can be written. instead: what to do where not.

    Raises InputError.
    """
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"The folder {folder} cannot be written ({reason}). {instead}", "not-written") from error
    return folder
