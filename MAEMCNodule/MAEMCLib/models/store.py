"""Where models live: those shipped with MAEMC and the user's own under ``MAEMC_HOME/models``."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelError
from ..files.home import home
from .bundle import SUFFIX, read_card
from .card import ModelCard

SHIPPED = {"lidc-rating@1.0": "92b262672d86b1c11aa17568dbe687c3487c6ae348d5bf3b6ac0b5d69ca5735f"}
"""SHA-256 of the card of each shipped model, which holds those of its weights: what lies there is what was released.
``maemc models verify`` prints it; Resources/make_demo_model.sh says when it has to be changed."""


@dataclass(frozen=True)
class StoredModel:
    """A model found on this machine; card is None and problem says why where it cannot be used. note: what an import
    has found out."""

    path: Path
    shipped: bool
    card: ModelCard | None
    problem: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        """``id@version``."""
        return f"{self.card.id}@{self.card.version}" if self.card else self.path.name


def shipped_folder() -> Path | None:
    """The package's own data where pip installed it; Resources/Models beside it in Slicer, above in the source."""
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "shipped", *(up / "Resources" / "Models" for up in (here.parent, here.parent.parent))):
        if folder.is_dir():
            return folder
    return None


def list_models() -> list[StoredModel]:
    """Every model here, the user's before the shipped ones, by name. Weights are not verified (see ``find_model``).

    What cannot be read is listed with its problem, whatever it is, and stops nothing else.
    """
    imported = [_stored(path, shipped=False) for path in _places(home() / "models")]
    shipped = [_stored(path, shipped=True) for path in _places(shipped_folder())]
    return [*sorted(imported, key=lambda model: model.name), *shipped]


def _places(folder: Path | None) -> Iterator[Path]:
    try:
        paths = sorted(folder.iterdir()) if folder is not None else []
    except OSError:  # there is no such folder, or it is not ours to read
        return
    for path in paths:
        if not path.name.startswith(".") and (path.suffix == SUFFIX or os.path.isdir(path)):
            yield path


def _stored(path: Path, shipped: bool) -> StoredModel:
    try:
        card = read_card(path)
    except ModelError as error:
        return StoredModel(path, shipped, None, str(error))
    problem = shipped_problem(card) if shipped else ""
    return StoredModel(path, shipped, None if problem else card, problem)


def shipped_problem(card: ModelCard) -> str:
    """Why a model with the name of a shipped one is not the one that was released; empty for it and for all others."""
    released = SHIPPED.get(f"{card.id}@{card.version}")
    if released in (None, card.sha256):
        return ""
    return (
        f"This is not the {card.id} {card.version} that MAEMC was released with: the SHA-256 of its card is "
        f"{card.sha256}, and has to be {released}. Install MAEMC again."
    )


def find_model(reference: str | Path | None = None) -> Path:
    """The bundle that an id, ``id@version`` or path means; the shipped model where nothing is given. Raises ModelError.

    A path has a separator or ends in ``.maemc`` (``./model``, ``model.maemc``): a file that happens to be called like a
    model is not taken for it. An id with several versions means the shipped one, else the newest.
    """
    if isinstance(reference, Path) or (reference and (set(reference) & set("/\\") or reference.endswith(SUFFIX))):
        return Path(reference)
    models = list_models()
    if reference is None:
        return _default(models).path
    named = _named(reference, models)
    if not named:
        raise _not_found(reference, models)
    return _newest([model for model in named if model.shipped] or named, reference).path


def _named(reference: str, models: list[StoredModel]) -> list[StoredModel]:
    return [model for model in models if model.card is not None and reference in (model.card.id, model.name)]


def _not_found(reference: str, models: list[StoredModel]) -> ModelError:
    for model in models:
        if model.shipped and model.card is None and model.path.stem == reference.partition("@")[0]:
            return ModelError(model.problem, "hash")
    known = ", ".join(sorted({model.name for model in models if model.card is not None})) or "none"
    there = "\0" not in reference and os.path.exists(reference)
    beside = f" To open the file or folder of that name write .{os.sep}{reference}." if there else ""
    return ModelError(f"There is no model '{reference}'. Installed: {known}.{beside}", "missing")


def _default(models: list[StoredModel]) -> StoredModel:
    found = [model for model in models if model.shipped] or [model for model in models if model.card is not None]
    for model in found:
        if model.card is None:  # a shipped one that is damaged: never another one in its place
            raise ModelError(model.problem, "hash")
    if not found:
        raise ModelError("No model is installed. Import one with 'maemc models import FILE'.", "missing")
    ids = sorted({model.card.id for model in found})
    if len(ids) > 1:
        raise ModelError(f"Several models are installed: {', '.join(ids)}. Choose one with --model ID.", "ambiguous")
    return _newest(found, ids[0])


def _newest(found: list[StoredModel], reference: str) -> StoredModel:
    newest = max(found, key=lambda model: _version_key(model.card.version))
    same = [model for model in found if model.card.version == newest.card.version]
    if len({model.card.sha256 for model in same}) > 1:
        places = [model.path for model in same]
        raise ModelError(
            f"'{reference}' means two different models: {' and '.join(map(str, places))}. Remove one of them.",
            "ambiguous",
            places,
        )
    return newest


def remove_model(reference: str) -> Path:
    """Delete a model from the user's folder, also a damaged one by the name that ``list_models`` has for it.

    Raises ModelError for shipped models and those elsewhere.
    """
    own = [model for model in list_models() if not model.shipped]
    damaged = [model.path for model in own if model.card is None and model.path.name == reference]
    known = _named(reference, own)
    path = damaged[0] if damaged else _newest(known, reference).path if known else find_model(reference)
    if path.resolve().parent != (home() / "models").resolve():
        raise ModelError(
            f"{reference} is not among the imported models in {home() / 'models'}; it stays.", "shipped", [home()]
        )
    try:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    except OSError as error:
        raise ModelError(
            f"{path} cannot be removed ({error}). Check the folder's permissions.", private=[path]
        ) from error
    return path


def _version_key(version: str) -> list[tuple[int, int | str]]:
    parts = re.split(r"[.\-+]", version)
    return [(1, int(part)) if part.isascii() and part.isdigit() else (0, part) for part in parts]
