"""British Thoracic Society 2015: what to do about a nodule by size, type and risk.

Callister MEJ et al., Thorax 2015;70 Suppl 2:ii1-ii54, doi 10.1136/thoraxjnl-2015-207168; the sizes in between as
Table 4 of PMC6784443 gives them. The diameter is the largest one; the volume counts where it is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ..bands import BTS
from ..fields import (
    DIAMETER,
    FLAG,
    NON_SOLID,
    NONE,
    OPTIONAL_AGE,
    PART_SOLID,
    PATTERN,
    SOLID,
    TYPE,
    VOLUME,
    Field,
    needed_when,
    pattern_text,
)
from ..score import Outcome, Score

RISK = Field(
    "probability",
    "probability of cancer",
    high=1,
    optional=True,
    hint="by Brock, after PET/CT by Herder, as a fraction: 0.19 and not 19",
)
PERSISTENT = Field("persistent", "still there after 3 months", FLAG, hint="of a part-solid or non-solid nodule")


class BritishThoracicSociety(Score):
    """The same for nodules of screening and others."""

    name, title = "bts", "British Thoracic Society 2015"
    source = "Callister MEJ et al. (British Thoracic Society), Thorax 2015;70 Suppl 2:ii1-ii54"
    fields: ClassVar = (
        TYPE,
        replace(DIAMETER, optional=True),
        VOLUME,
        RISK,
        *needed_when("type", (PART_SOLID, NON_SOLID), PERSISTENT),
        PATTERN,
        OPTIONAL_AGE,
    )
    one_of = (("diameter_mm", "volume_mm3"),)
    sizes = (("diameter_mm",), ("volume_mm3",))

    def outcome(self, values: Mapping[str, Any]) -> Outcome:
        """By size first; the risk decides from 8 mm or 300 mm3 on, and for subsolid nodules that persist."""
        if values["pattern"] != NONE:
            return Outcome("benign pattern", 0, "No follow-up.")
        volume, diameter = values.get("volume_mm3"), values.get("diameter_mm")
        small = volume < 80 if volume is not None else diameter < 5
        if small:
            return Outcome("< 5 mm or 80 mm3", 0, "No follow-up.")
        if values["type"] != SOLID:
            return _subsolid(values)
        if volume is None and diameter < 6:
            advice = "CT at 12 months; if stable by volumetry discharge, by diameter CT again at 24 months."
            return Outcome("5 to < 6 mm", 1, advice)
        if volume < 300 if volume is not None else diameter < 8:
            advice = "CT at 3 months; if stable, or the volume doubles in more than 400 days, CT at 12 months."
            return Outcome("6 to < 8 mm or 80 to < 300 mm3", 2, advice)
        if "probability" not in values:
            advice = "Estimate the probability of cancer with Brock; where PET/CT is made, with Herder."
            return Outcome(">= 8 mm or 300 mm3, risk not given", 3, advice)
        band = BTS.of(values["probability"])
        category = f">= 8 mm or 300 mm3, risk {band.name}"
        return Outcome(category, 3 + band.rank, band.recommendation, values["probability"])

    def sentence(self, values: Mapping[str, Any], outcome: Outcome) -> str:
        """``Part-solid nodule, diameter 9 mm. British Thoracic Society 2015: CT at 3 months ...``."""
        sizes = [one.text(values[one.name]) for one in (DIAMETER, VOLUME, RISK) if one.name in values]
        kind = "ground-glass" if values["type"] == NON_SOLID else values["type"]
        sizes += [] if values["pattern"] == NONE else [pattern_text(values["pattern"])]
        return f"{kind.capitalize()} nodule, {', '.join(sizes)}. {self.title}: {outcome.recommendation}"


def _subsolid(values: Mapping[str, Any]) -> Outcome:
    if not values["persistent"]:
        return Outcome("subsolid, >= 5 mm", 2, "CT at 3 months.")
    if "probability" not in values:
        advice = "Estimate the probability of cancer with Brock; growth or altered morphology favors resection."
        return Outcome("subsolid, persistent, risk not given", 3, advice)
    band = BTS.of(values["probability"])
    low = band.rank == 0
    advice = "CT at 1, 2 and 4 years." if low else "Further surveillance, image-guided biopsy or resection."
    return Outcome(f"subsolid, persistent, risk {band.name}", 3 + band.rank, advice, values["probability"])


SCORE = BritishThoracicSociety()
