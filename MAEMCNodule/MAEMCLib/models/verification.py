"""Is a bundle's network one that this installation can build, and does it compute what its author saw?

Importable without torch: where there is none the answer waits for the first use.
"""

from __future__ import annotations

from ..errors import MachineError, ModelError
from ..machine.installation import check_torch
from .bundle import ModelBundle

UNVERIFIED = "unverified: it brings no reference case that could show whether this installation computes it right"


def verify(bundle: ModelBundle) -> str:
    """Load the network and compute the reference case, on the processor: what came of it, a sentence.

    Raises ModelError: weights that do not fit the architecture, other numbers than the author's.
    """
    try:
        check_torch()
    except MachineError as error:
        return f"{error} Whether the model computes right is checked when it is first used."
    from .predictor import Predictor
    from .reference_case import difference, is_verifiable

    predictor = Predictor(bundle, "cpu")
    problem = _autoencoder_problem(predictor)
    if is_verifiable(bundle.card):
        said = (
            f"Its reference case gives the author's numbers (a logit differs by {difference(predictor):.1g} at most)."
        )
    else:
        said = f"It is {UNVERIFIED}."
    return f"{said} {problem}".rstrip()


def _autoencoder_problem(predictor) -> str:
    """Why it scores without pictures; empty for a sound autoencoder and for none."""
    from .autoencoder import load_autoencoder

    if not predictor.card.members("decoder"):
        return ""
    try:
        load_autoencoder(predictor)
    except ModelError as error:
        return f"{error} It scores without a reconstruction."
    return ""
