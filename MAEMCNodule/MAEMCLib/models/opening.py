"""A bundle becomes a predictor that has shown, on this installation, that it computes what its author saw."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch

from .. import __version__
from ..errors import InputError
from ..files.atomic import read_json, write_json
from ..files.home import home
from .bundle import ModelBundle
from .predictor import Predictor
from .reference_case import difference, is_verifiable


def open_predictor(bundle: ModelBundle, device: str = "auto") -> Predictor:
    """The predictor of a bundle.

    Raises ModelError where the weights do not fit the architecture that the card states, or where this installation
    computes other numbers of the model's reference case than its author's did.
    """
    predictor = Predictor(bundle, device)
    check_once(predictor)
    return predictor


def check_once(predictor) -> None:
    """``difference``, unless this installation has shown it for this bundle before. Raises ModelError as that does."""
    if not is_verifiable(predictor.card):
        return
    file = home() / "checked" / f"{predictor.card.sha256}.json"
    here = f"MAEMC {__version__}, PyTorch {torch.__version__}, {predictor.device.partition(':')[0]}"
    seen = _seen(file)
    if here in seen:
        return
    difference(predictor)
    with suppress(InputError, OSError):  # a place that cannot be written costs the check each time
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, [*seen, here])


def _seen(file: Path) -> list[str]:
    try:
        seen = read_json(file, "What was checked")
    except InputError:
        return []
    return seen if isinstance(seen, list) and all(isinstance(line, str) for line in seen) else []
