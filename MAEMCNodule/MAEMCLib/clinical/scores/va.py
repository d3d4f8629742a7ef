"""Veterans Affairs model of the probability that a solitary nodule is cancer.

Gould MK et al., Chest 2007;131:383-388, doi 10.1378/chest.06-1261. The coefficients are as PMC6717521 (Eur Radiol 2019,
Table 2) prints them: 0.0567 a year since quitting, without a sign. That these years count against cancer, by 0.567 for
ten of them, is as medicalalgorithms.com prints the equation; the paper itself could not be read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ...errors import UsageError
from ..bands import ACCP
from ..fields import AGE, DIAMETER, SMOKER, Field
from ..score import Outcome, Score

QUIT = Field(
    "quit_years", "years since quitting", unit="years", high=100, default=0.0, hint="0: still smoking", per_patient=True
)


class VeteransAffairs(Score):
    """For solitary nodules."""

    name, title = "va", "Veterans Affairs"
    source = "Gould MK et al., Chest 2007;131:383-388, doi 10.1378/chest.06-1261"
    fields: ClassVar = (AGE, DIAMETER, SMOKER, replace(QUIT, when=(("smoker", (True,)),)))
    sizes = (("diameter_mm",),)

    def check(self, values: Mapping[str, Any]) -> None:
        """Nobody stops smoking before birth. Raises UsageError."""
        if values.get("quit_years", 0) > values.get("age", math.inf):
            raise UsageError(
                f"The years since quitting ({values['quit_years']:g}) are more than the age ({values['age']:g}). "
                "Correct one of them.",
                "clinical-value",
            )

    def outcome(self, values: Mapping[str, Any]) -> Outcome:
        """With the bands of the American College of Chest Physicians."""
        x = -8.404 + 0.0779 * values["age"] + 0.112 * values["diameter_mm"] + 2.061 * values["smoker"]
        x -= 0.0567 * values.get("quit_years", 0)
        probability = 1 / (1 + math.exp(-x))
        band = ACCP.of(probability)
        return Outcome(band.name, band.rank, band.recommendation, probability, notes=(_COHORT,))


_COHORT = "Derived from solitary nodules of veterans in the United States."
SCORE = VeteransAffairs()
