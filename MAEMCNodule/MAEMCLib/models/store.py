"""Where models live: those shipped with MAEMC and the user's own under ``MAEMC_HOME/models``.

A stranger's bundle becomes one of the user's models: verified, computed once, copied. Importable without torch: where
there is none the computing waits for the first use.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import MachineError, ModelError, UsageError
from ..files.atomic import home
from ..machine.installation import check_torch
from .bundle import SUFFIX, ModelBundle, copy_bundle, read_card
from .card import ModelCard, is_sha256

SHIPPED = {"lidc-rating@2.1": "740d08f525ba32805d69ddbc804be5201ca5aba04a3e8320c9adec9cbdd3c3e3"}
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
    imported = [_stored(path, shipped=False) for path in bundles_in(home() / "models")]
    shipped = [_stored(path, shipped=True) for path in bundles_in(shipped_folder())]
    return [*sorted(imported, key=lambda model: model.name), *shipped]


def bundles_in(folder: Path | None) -> Iterator[Path]:
    """What lies in a folder of models and is, by its name, a bundle; nothing where there is no such folder."""
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
    if isinstance(reference, Path) or (reference and is_path(reference)):
        return Path(reference)
    models = list_models()
    if reference is None:
        return _default(models).path
    named = _named(reference, models)
    if not named:
        raise _not_found(reference, models)
    return _newest([model for model in named if model.shipped] or named, reference).path


def is_path(reference: str) -> bool:
    """Whether it names a place and no id."""
    return bool(set(reference) & set("/\\")) or reference.endswith(SUFFIX)


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


def import_model(source: str | Path, sha256: str | None = None) -> StoredModel:
    """Verify a bundle, compute its reference case where PyTorch is here, and copy it to the user's models.

    sha256: of the card, as the model's source states it: confirms a model whose id is known here already.
    Raises ModelError: not sound, another card than ``sha256``, or its name is taken; UsageError: no SHA-256.
    """
    if sha256 is not None and not is_sha256(sha256):
        raise UsageError(f"'{sha256}' is no SHA-256: 64 digits 0-9 and a-f.", "sha256")
    bundle = ModelBundle.open(source)
    card = bundle.card
    if sha256 is not None and card.sha256 != sha256.lower():
        raise ModelError(
            f"{bundle.path.name} is another model: its card's SHA-256 is {card.sha256}.", "hash", [bundle.path.name]
        )
    models = [model for model in list_models() if model.card is not None]
    for model in models:
        if (model.card.id, model.card.version) == (card.id, card.version):
            if model.card.sha256 != card.sha256:
                raise _taken(model, card)
            with suppress(ModelError):  # a damaged one is replaced
                ModelBundle.open(model.path)
                return model
    known = [model for model in models if model.card.id == card.id]
    if known and sha256 is None and all(model.card.sha256 != card.sha256 for model in known):
        raise ModelError(
            f"A model called {card.id} is here already ({', '.join(model.name for model in known)}), and anybody can "
            f"give a file that name. This one is {card.id}@{card.version}, the SHA-256 of its card {card.sha256}. "
            "Compare that with what the model's source states, and if they agree repeat the command with --sha256 and "
            "the number.",
            "known-id",
        )
    note = verify(bundle)
    place = home() / "models" / _folder_name(card)
    there = None
    with suppress(ModelError):
        there = read_card(place).sha256
    if os.path.exists(place) and there != card.sha256:
        raise ModelError(
            f"In the place of {card.id}@{card.version} lies something that cannot be read. Remove it first with "
            f"'maemc models remove {place.name}'.",
            "exists",
        )
    copied = copy_bundle(bundle, place)
    return StoredModel(copied.path, False, copied.card, note=note)


def verify(bundle: ModelBundle) -> str:
    """Load the network and compute the reference case, on the processor: what came of it, a sentence.

    Raises ModelError: weights that do not fit the architecture, other numbers than the author's.
    """
    try:
        check_torch()
    except MachineError as error:
        return f"{error} Whether the model computes right is checked when it is first used."
    from .autoencoder import load_autoencoder
    from .predictor import Predictor
    from .reference_case import difference, is_verifiable

    predictor = Predictor(bundle, "cpu")
    result = (
        "It is unverified: it brings no reference case that could show whether this installation computes it right."
    )
    if is_verifiable(bundle.card):
        apart = difference(predictor)
        result = f"Its reference case gives the author's numbers (a logit differs by {apart:.1g} at most)."
    try:
        load_autoencoder(predictor)
    except ModelError as error:
        return f"{result} {error} It scores without a reconstruction."
    return result


def _taken(model: StoredModel, card: ModelCard) -> ModelError:
    what = f"A different model is already here as {card.id} {card.version}"
    if model.shipped:
        return ModelError(f"{what}: it came with MAEMC and stays. Give the new one another version.", "exists")
    return ModelError(f"{what}. Remove it first with 'maemc models remove {model.name}'.", "exists")


def _folder_name(card: ModelCard) -> str:
    """A folder for each (id, version): readable, and told apart by a hash where letters or their case are lost. No name
    that Windows reserves (CON) or changes (a dot at the end)."""
    name = f"{card.id}@{card.version}"
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:60]
    return f"{readable or 'model'}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
