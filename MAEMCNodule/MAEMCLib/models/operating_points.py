"""The three thresholds at which a model is used, with what it reached there. Free of torch.

``maemc-train export`` writes them: thresholds chosen on validation cases, rates on cases that chose nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import ModelError
from .card import ModelCard

PURPOSES = {
    "rule_out": "rule out (high sensitivity)",
    "balanced": "balanced",
    "rule_in": "rule in (high specificity)",
}
"""The points' names in a card, and for people."""


@dataclass(frozen=True)
class Rate:
    """A share of n cases with its 95 % interval; low and high are None where there were too few patients for one."""

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class OperatingPoint:
    """A nodule is called malignant from the threshold on. sensitivity is of the malignant cases, specificity of the
    benign ones."""

    name: str
    threshold: float
    sensitivity: Rate
    specificity: Rate

    @property
    def purpose(self) -> str:
        """What it is for, in words."""
        return PURPOSES[self.name]


def operating_points(card: ModelCard) -> tuple[OperatingPoint, ...]:
    """rule_out, balanced and rule_in of a card, in order; none where the card has none, was made by an earlier version,
    or no threshold was chosen from data (all are then 0.5).

    Raises ModelError for rates that are none.
    """
    stated = card.values.get("operating_points", {})
    if len(card.classes) != 2 or not set(PURPOSES) <= set(stated) or set(card.thresholds.values()) == {0.5}:
        return ()
    points = []
    for name in PURPOSES:
        rates = [_rate(stated[name]["metrics"][key]) for key in ("sensitivity", "specificity")]
        if None in rates:
            return ()
        points.append(OperatingPoint(name, float(stated[name]["threshold"]), *rates))
    if {point.name: point.threshold for point in points} != card.thresholds or not all(map(_is_possible, points)):
        raise ModelError(
            f"The operating points of {card.id} do not fit its thresholds, or are no rates. Get the model again.",
            "schema",
        )
    return tuple(points)


def _rate(values: dict[str, Any] | None) -> Rate | None:
    if values is None or values.get("value") is None:
        return None
    return Rate(values["value"], values.get("low"), values.get("high"), values.get("n") or 0)


def _is_possible(point: OperatingPoint) -> bool:
    for rate in (point.sensitivity, point.specificity):
        low, high = (rate.value if limit is None else limit for limit in (rate.low, rate.high))
        if not 0 <= low <= rate.value <= high <= 1:
            return False
    return True
