"""A stranger's bundle becomes one of the user's models: verified, computed once, copied.

Importable without torch: where there is none the computing waits for the first use.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

from ..errors import MachineError, ModelError, UsageError
from ..files.home import home
from ..machine.installation import check_torch
from .bundle import ModelBundle, copy_bundle, read_card
from .card import ModelCard, is_sha256
from .store import StoredModel, list_models


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
