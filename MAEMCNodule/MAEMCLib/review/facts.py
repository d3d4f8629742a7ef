"""What the audit log says of a result: enough to compute it again, and nothing that names anybody."""

from __future__ import annotations

from typing import Any

from ..models.card import ModelCard
from ..results import NoduleResult
from ..scoring import SCORING_RELEASE


def result_facts(result: NoduleResult, card: ModelCard) -> dict[str, Any]:
    """The facts of a scored nodule, as JSON; of names (case, nodule, image), messages and clinical values none.

    "probability_of" is the class that the number is the probability of, "weights" the SHA-256 of each classifier's
    file, "software" the version of the code.
    """
    return {
        "model": {
            "id": card.id,
            "version": card.version,
            "sha256": card.sha256,
            "weights": [card.files[name]["sha256"] for name in card.members("classifier")],
            "label_type": card.label_type,
        },
        "software": result.software,
        "scoring_release": SCORING_RELEASE,
        "preprocessing": card.values["preprocessing"],
        "input_sha256": result.input_sha256,
        "point_lps": None if result.point_lps is None else list(result.point_lps),
        "gate": result.gate,
        "gate_reasons": list(result.gate_reasons),
        "probability": result.probability,
        "probability_of": card.positive_class if len(card.classes) == 2 else result.class_name,
        "interval_low": result.interval_low,
        "interval_high": result.interval_high,
        "class": result.class_name,
        "threshold": result.threshold,
        "ood_percentile": result.ood_percentile,
        "device": result.device,
        "scored": result.time,
    }
