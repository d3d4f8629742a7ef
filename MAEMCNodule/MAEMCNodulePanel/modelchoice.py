"""The model that scores: found, and its card read, when the choice or a file has changed, and not at every look."""

import contextlib
import os
from pathlib import Path

from MAEMCLib.errors import ModelError
from MAEMCLib.files.home import home
from MAEMCLib.models.bundle import CARD, read_card
from MAEMCLib.models.store import StoredModel, find_model, shipped_folder


class ModelChoice:
    """Knows the model that was asked for last. Asking again costs a look at the dates of the models' files."""

    def __init__(self) -> None:
        self._seen: tuple | None = None
        self._found: StoredModel | ModelError | None = None

    def find(self, reference: str) -> StoredModel:
        """The model with this id, ``id@version`` or path; the shipped one for an empty text. Its weights are verified
        by the worker. Raises ModelError naming what is wrong with it.
        """
        seen = (reference, _files(reference))
        if seen != self._seen:
            self._seen = seen
            try:
                path = find_model(reference or None)
                self._found = StoredModel(path, False, read_card(path))
            except ModelError as error:
                self._found = error
        if isinstance(self._found, ModelError):
            raise self._found
        return self._found


def _files(reference: str) -> list:
    """What changes when a model comes, goes or is replaced, be it a file or a folder."""
    paths = [Path(reference)] if reference else []
    for folder in (home() / "models", shipped_folder()):
        with contextlib.suppress(OSError, TypeError):  # there is none, or it is not ours to read
            paths += [Path(entry) for entry in os.scandir(folder)]
    return [(str(path), _identity(path), _identity(path / CARD)) for path in paths]


def _identity(path: Path) -> tuple | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
