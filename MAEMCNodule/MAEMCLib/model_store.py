"""Where models live: those shipped with MAEMC and the user's own under ``MAEMC_HOME/models``."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from .bundle import SUFFIX, ModelBundle, copy_bundle, read_card
from .errors import ModelError
from .model_card import ModelCard


@dataclass(frozen=True)
class StoredModel:
    """A model found on this machine; card is None and problem says why where it cannot be used."""

    path: Path
    shipped: bool
    card: ModelCard | None
    problem: str = ""


def home() -> Path:
    """MAEMC_HOME, or the platform's folder for a user's application data."""
    if "MAEMC_HOME" in os.environ:
        return Path(os.environ["MAEMC_HOME"])
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "MAEMC"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "MAEMC"
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "MAEMC"


def shipped_folder() -> Path | None:
    """Resources/Models beside the library: one folder up where Slicer installed it, two in the source tree."""
    here = Path(__file__).resolve().parent
    for folder in (here.parent, here.parent.parent, Path(sys.prefix) / "share" / "maemc"):
        if (folder / "Resources" / "Models").is_dir():
            return folder / "Resources" / "Models"
    return None


def list_models() -> list[StoredModel]:
    """Every model here, the user's before the shipped ones, by name. Weights are not verified (see ``find_model``)."""
    found = []
    for folder, shipped in ((home() / "models", False), (shipped_folder(), True)):
        if folder is None or not folder.is_dir():
            continue
        for path in sorted(folder.iterdir()):
            if path.name.startswith(".") or not (path.is_dir() or path.suffix == SUFFIX):
                continue
            try:
                found.append(StoredModel(path, shipped, read_card(path)))
            except ModelError as error:
                found.append(StoredModel(path, shipped, None, str(error)))
    return found


def find_model(reference: str | Path | None = None) -> Path:
    """The bundle that an id, ``id@version`` or path means; the shipped model where nothing is given. Raises ModelError.

    An id with several versions means the newest.
    """
    if reference is not None and (Path(reference).exists() or any(sign in str(reference) for sign in "/\\")):
        return Path(reference)
    models = [model for model in list_models() if model.card is not None]
    if reference is None:
        models = [model for model in models if model.shipped] or models
        if not models:
            raise ModelError("No model is installed. Import one with 'maemc models import FILE'.", "missing")
    else:
        name, _, version = str(reference).partition("@")
        models = [m for m in models if m.card.id == name and (not version or m.card.version == version)]
        if not models:
            known = ", ".join(sorted({f"{m.card.id}@{m.card.version}" for m in list_models() if m.card})) or "none"
            raise ModelError(f"There is no model '{reference}'. Installed: {known}.", "missing")
    return max(models, key=lambda model: _version_key(model.card.version)).path


def import_model(source: str | Path) -> StoredModel:
    """Verify a bundle and copy it to the user's models. Raises ModelError: not sound, or another one has its name."""
    bundle = ModelBundle.open(source)
    for model in list_models():
        if model.card and (model.card.id, model.card.version) == (bundle.card.id, bundle.card.version):
            if model.card.sha256 == bundle.card.sha256:
                return model
            raise ModelError(
                f"A different model is already here as {bundle.card.id} {bundle.card.version}. Remove it first with "
                f"'maemc models remove {bundle.card.id}@{bundle.card.version}'.",
                "exists",
            )
    safe = re.sub(r"[^\w.-]+", "-", f"{bundle.card.id}-{bundle.card.version}").strip(".-") or "model"
    copied = copy_bundle(bundle, home() / "models" / safe)
    return StoredModel(copied.path, False, copied.card)


def remove_model(reference: str) -> Path:
    """Delete a model from the user's folder. Raises ModelError for shipped models and those elsewhere."""
    path = find_model(reference)
    if path.resolve().parent != (home() / "models").resolve():
        raise ModelError(f"{reference} is not among the imported models in {home() / 'models'}; it stays.", "shipped")
    try:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    except OSError as error:
        raise ModelError(f"{path} cannot be removed ({error}). Check the folder's permissions.") from error
    return path


def _version_key(version: str) -> list[tuple[int, int | str]]:
    return [(1, int(part)) if part.isdigit() else (0, part) for part in re.split(r"[.\-+]", version)]
