"""The model that scores: found, and its card read, when the choice or a file has changed, and not at every look."""

import contextlib
import functools
import os
from pathlib import Path

from MAEMCLib.errors import ModelError
from MAEMCLib.files.atomic import home
from MAEMCLib.models import store
from MAEMCLib.models.bundle import CARD, read_card
from MAEMCLib.models.store import StoredModel, find_model
from slicer.i18n import tr as _


def chosenModel(reference: str) -> StoredModel:
    """The model with this id, ``id@version`` or path; the shipped one for an empty text. Its weights are verified by
    the worker. Cheap where the files of the models are as they were. Raises ModelError naming what is wrong with it.
    """
    model = _read(reference, _files(reference))
    if isinstance(model, ModelError):
        raise model
    return model


def modelBehind(result: dict, reference: str) -> StoredModel:
    """The model that a result is from: the chosen one (``reference``), or another one of this machine.

    Raises ModelError where it is not here any more, or another one has its name now.
    """
    with contextlib.suppress(ModelError):
        model = chosenModel(reference)
        if model.card.sha256 == result["model_sha256"]:
            return model
    name = f"{result['model_id']}@{result['model_version']}"
    model = chosenModel(name)
    if model.card.sha256 != result["model_sha256"]:
        text = _("The model {model} is another one than has scored this nodule. Score it again first.")
        raise ModelError(text.format(model=name), "model-changed")
    return model


@functools.lru_cache(maxsize=4)  # the chosen one, and those behind results of others
def _read(reference: str, files: tuple) -> StoredModel | ModelError:
    try:
        path = find_model(reference or None)
        return StoredModel(path, False, read_card(path))
    except ModelError as error:
        return error


def _files(reference: str) -> tuple:
    """What changes when a model comes, goes or is replaced, be it a file or a folder."""
    paths = [Path(reference)] if reference else []
    for folder in (home() / "models", store.shipped_folder()):
        paths += store.bundles_in(folder)
    return tuple((str(path), _identity(path), _identity(path / CARD)) for path in paths)


def _identity(path: Path) -> tuple | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
