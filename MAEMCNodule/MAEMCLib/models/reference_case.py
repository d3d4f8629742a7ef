"""Does this installation compute what the model's author meant? A synthetic case, and the logits that the author saw.

The case is drawn by whole-number arithmetic, alike on every machine, and never stored; the card keeps each member's
logits of it, computed in float32 by the weights as they are stored. They are compared at import, by ``models verify``,
and once for each version of PyTorch and MAEMC and each kind of device.
"""

from contextlib import suppress

import numpy as np
import torch

from .. import __version__
from ..cases.values import CHOICE, SERIES, ClinicalField, ClinicalValues
from ..errors import InputError, ModelError
from ..files.atomic import home, read_json, write_json
from ..inputs.input import Prepared
from .bundle import ModelBundle
from .card import ModelCard
from .predictor import Predictor

CASE = "synthetic-1"
"""The name of what each input's ``synthetic`` draws. Another drawing needs another name."""
TOLERANCE, TOLERANCE_OF_HALVES = 0.001, 0.1
"""Largest difference of a logit, of weights in float32 and in bfloat16 or float16."""


def open_predictor(bundle: ModelBundle, device: str = "auto") -> Predictor:
    """The predictor of a bundle. Its reference case is computed once for each installation.

    Raises ModelError where the weights do not fit the architecture that the card states, or where this installation
    computes other numbers of the model's reference case than its author's did.
    """
    predictor = Predictor(bundle, device)
    if not is_verifiable(predictor.card):
        return predictor
    file = home() / "checked" / f"{predictor.card.sha256}.json"
    here = f"MAEMC {__version__}, PyTorch {torch.__version__}, {predictor.device.partition(':')[0]}"
    checked = []
    with suppress(InputError):
        if file.is_file():
            checked = read_json(file, "What was checked")
    if not isinstance(checked, list) or here not in checked:
        difference(predictor)
        with suppress(InputError, OSError):  # a place that cannot be written costs the check each time
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, [*checked, here] if isinstance(checked, list) else [here])
    return predictor


def measure(bundle: ModelBundle) -> dict:
    """What a card says under ``reference``: computed on this processor in float32. Raises ModelError where the weights
    do not fit the architecture or give no finite result."""
    predictor = Predictor(bundle, "cpu")
    for member in predictor.members:
        member.float()
    logits = predictor.reference_logits(case_for(bundle.card))
    if not np.isfinite(logits).all():
        raise ModelError(f"The model {bundle.card.id} gives no finite result. Its weights are damaged.", "weights")
    return {"case": CASE, "logits": [[round(value, 6) for value in row] for row in logits.tolist()]}


def is_verifiable(card: ModelCard) -> bool:
    """Whether the card brings a reference case that this version can draw."""
    return card.reference is not None and card.reference["case"] == CASE


def difference(predictor) -> float:
    """The largest difference of a logit between here and the author's installation. Raises ModelError above tolerance.

    predictor: of a model that ``is_verifiable``.
    """
    card = predictor.card
    expected = card.reference["logits"]
    computed = predictor.reference_logits(case_for(card))
    if [len(row) for row in expected] != [computed.shape[1]] * computed.shape[0]:
        raise ModelError(f"The reference case of {card.id} is not that of its members. Get the model again.", "schema")
    apart = float(np.abs(computed - np.asarray(expected, float)).max())
    allowed = TOLERANCE_OF_HALVES if predictor.halves else TOLERANCE
    if not apart <= allowed:
        raise ModelError(
            f"This installation computes other numbers than the model's author ({card.id} {card.version}): on its "
            f"reference case a logit differs by {apart:.3g}, and {allowed:g} is allowed (PyTorch {torch.__version__} "
            f"on {predictor.device}). Nothing is scored with it. Install PyTorch again, or try --device cpu.",
            "reference",
        )
    return apart


def case_for(card: ModelCard) -> Prepared:
    """What the model scores: a region, with every value and series that it asks for."""
    values = {one.name: _value(one) for one in card.clinical}
    series = [one.name for one in card.clinical if one.kind == SERIES]
    regions = {name: card.kind.synthetic(number) for number, name in enumerate(series, start=1)}
    return Prepared(card.kind.synthetic(0), ClinicalValues(values, (), regions))


def _value(field: ClinicalField) -> float | str:
    if field.kind == SERIES:
        return field.name
    if field.kind == CHOICE:
        return field.choices[0]
    return 1.0 if field.low is None else (field.low + field.high) / 2
