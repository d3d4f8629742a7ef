"""Volume doubling time of a nodule between two examinations, and what the British Thoracic Society advises by it.

VDT = ln 2 * days / ln(V2 / V1); from diameters ln 2 * days / (3 ln(d2 / d1)). A change of volume below 25 % is within
measurement error. Callister MEJ et al., Thorax 2015;70 Suppl 2:ii1-ii54, doi 10.1136/thoraxjnl-2015-207168.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from ...errors import UsageError
from ..edges import Edge
from ..fields import Field
from ..score import Outcome, Score

MEASUREMENT_ERROR = 0.25
"""Of a volume's change, as a share."""
RAPID_DAYS, SLOW_DAYS = 400, 600
VOLUMES = Field("volumes", "volumes", unit="mm3", low=1, high=15e6, many=2, optional=True, hint="earlier, later")
DIAMETERS = Field("diameters", "diameters", unit="mm", low=1, high=300, many=2, optional=True, hint="earlier, later")
DAYS = Field("days", "days between", unit="days", low=1, high=36500)
STABLE, SMALLER = "stable", "smaller"


def doubling_days(ratio: float, days: float) -> float | None:
    """Days in which the volume doubles; None where it does not grow. ratio: later by earlier volume."""
    return math.log(2) * days / math.log(ratio) if ratio > 1 else None


class DoublingTime(Score):
    """From two volumes, or from two diameters of a sphere."""

    name, title = "vdt", "Volume doubling time"
    source = "Callister MEJ et al. (British Thoracic Society), Thorax 2015;70 Suppl 2:ii1-ii54"
    fields: ClassVar = (VOLUMES, DIAMETERS, DAYS)
    one_of = (("volumes", "diameters"),)

    def check(self, values: Mapping[str, Any]) -> None:
        """Raises UsageError where both are given."""
        if "volumes" in values and "diameters" in values:
            raise UsageError("Volumes and diameters are both given. Give one of them.", "clinical-value")

    def outcome(self, values: Mapping[str, Any]) -> Outcome:
        """Stable within the measurement error, else by the bands of the doubling time."""
        by_volume = "volumes" in values
        ratio = _ratio(values)
        days = values["days"]
        found, low, high = _doubling(ratio, days)
        category, rank, advice = _band(ratio, found)
        notes = []
        if not by_volume:
            notes.append("From diameters, as of spheres; volumes are more precise.")
            if found is not None and category.startswith(f"> {SLOW_DAYS}"):
                advice = "CT surveillance; discharge only by volumetry."
        if low is not None:
            upper = f"{high:.0f} days" if high is not None else "no growth"
            notes.append(f"With a measurement error of 25 % of volume: {low:.0f} days to {upper}.")
        measures = {
            "doubling_time_days": found,
            "doubling_time_low_days": low,
            "doubling_time_high_days": high,
            "volume_change_percent": 100 * (ratio - 1),
        }
        return Outcome(category, rank, advice, measures=measures, notes=tuple(notes))

    def sentence(self, values: Mapping[str, Any], outcome: Outcome) -> str:
        """``Volume change +50 % in 90 days, doubling time 154 days ...``."""
        change, time = outcome.measures["volume_change_percent"], outcome.measures["doubling_time_days"]
        within = abs(change) < 100 * MEASUREMENT_ERROR
        grown = "within measurement error" if within or time is None else f"doubling time {time:.0f} days"
        grown = SMALLER if change <= -100 * MEASUREMENT_ERROR else grown
        return f"Volume change {change:+.0f} % in {values['days']:g} days, {grown}. BTS 2015: {outcome.recommendation}"

    def edge(self, values: Mapping[str, Any], error_mm: float | None) -> Edge | None:
        """The nearest bound of the doubling time's bands, of a nodule that grows."""
        ratio, days = _ratio(values), values["days"]
        found, low, high = _doubling(ratio, days)
        category = self.outcome(values).category
        if found is None or category in (STABLE, SMALLER):
            return None
        at = min((RAPID_DAYS, SLOW_DAYS), key=lambda bound: abs(bound - found))
        if found > at:
            return Edge("doubling time", "days", found, at, found - at, _band(ratio, at)[0], found - low, low <= at)
        error = None if high is None else high - found
        within = high is None or high > at
        return Edge("doubling time", "days", found, at, at - found, _band(ratio, at + 1)[0], error, within)


def _ratio(values: Mapping[str, Any]) -> float:
    """Later by earlier volume."""
    if "volumes" in values:
        return values["volumes"][1] / values["volumes"][0]
    return (values["diameters"][1] / values["diameters"][0]) ** 3


def _doubling(ratio: float, days: float) -> tuple[float | None, float | None, float | None]:
    """Days, and their bounds where the ratio is wrong by the measurement error; None where there is no growth."""
    worst = 1 + MEASUREMENT_ERROR
    return doubling_days(ratio, days), doubling_days(ratio * worst, days), doubling_days(ratio / worst, days)


def _band(ratio: float, days: float | None) -> tuple[str, int, str]:
    """Category, rank and advice. days: the doubling time."""
    if abs(ratio - 1) < MEASUREMENT_ERROR - 1e-9:
        return STABLE, 1, "Within measurement error (change of volume below 25 %): stable; surveillance as planned."
    if days is None:
        return SMALLER, 0, "Smaller by more than the measurement error."
    if days <= RAPID_DAYS:
        return f"<= {RAPID_DAYS} days", 4, "Work-up: further investigation is advised."
    if days <= SLOW_DAYS:
        return f"{RAPID_DAYS}-{SLOW_DAYS} days", 3, "Biopsy or further surveillance, by the patient's preference."
    return f"> {SLOW_DAYS} days", 2, "Consider discharge, or surveillance."


SCORE = DoublingTime()
