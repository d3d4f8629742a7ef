"""Mayo Clinic model of the probability that a solitary nodule is cancer.

Swensen SJ et al., Arch Intern Med 1997;157:849-855, doi 10.1001/archinte.1997.00440290031002, page 852. Its Table 3
prints 144 probabilities, which the formula gives within 0.006. (PMC6717521 prints the constant as -6.872, oncotoolkit
as -6.8238: misprints.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from ..bands import ACCP
from ..fields import (
    AGE,
    DIAMETER,
    EXTRATHORACIC_CANCER,
    LUNG_CANCER,
    RECENT_CANCER,
    SMOKER,
    SPICULATION,
    UPPER_LOBE,
)
from ..score import Outcome, Score

SMALLEST_MM = 4


def probability(
    age: float, diameter_mm: float, smoker: bool, extrathoracic_cancer: bool, spiculation: bool, upper_lobe: bool
) -> float:
    """Of cancer, 0 to 1. age: years. smoker: now or ever. extrathoracic_cancer: diagnosed over 5 years ago."""
    x = -6.8272 + 0.0391 * age + 0.1274 * diameter_mm
    x += 0.7917 * smoker + 1.3388 * extrathoracic_cancer + 1.0407 * spiculation + 0.7838 * upper_lobe
    return 1 / (1 + math.exp(-x))


class Mayo(Score):
    """For solitary nodules of 4 to 30 mm without cancer in the last five years."""

    name, title = "mayo", "Mayo Clinic"
    source = "Swensen SJ et al., Arch Intern Med 1997;157:849-855, doi 10.1001/archinte.1997.00440290031002"
    fields: ClassVar = (
        AGE,
        DIAMETER,
        SMOKER,
        EXTRATHORACIC_CANCER,
        SPICULATION,
        UPPER_LOBE,
        RECENT_CANCER,
        LUNG_CANCER,
    )
    sizes = (("diameter_mm",),)

    def inapplicable(self, values: Mapping[str, Any]) -> str | None:
        """As the paper states: no cancer within five years, no lung cancer ever, 4 to 30 mm."""
        if values["lung_cancer"]:
            return "Patients with a previous lung cancer were left out when it was derived."
        if values["recent_cancer"]:
            return "Patients with a cancer diagnosed within five years were left out when it was derived."
        if values.get("diameter_mm", SMALLEST_MM) < SMALLEST_MM:
            return f"It is for nodules of {SMALLEST_MM} to 30 mm."
        return super().inapplicable(values)

    def outcome(self, values: Mapping[str, Any]) -> Outcome:
        """With the bands of the American College of Chest Physicians."""
        names = ("age", "diameter_mm", "smoker", "extrathoracic_cancer", "spiculation", "upper_lobe")
        found = probability(*(values[name] for name in names))
        band = ACCP.of(found)
        return Outcome(band.name, band.rank, band.recommendation, found, notes=(_COHORT,))


_COHORT = (
    "Derived from solitary nodules, 23 % malignant; 79 % of the benign ones were granulomas. In the paper sensitivity "
    "and specificity were 93 and 47 % at 0.10, 51 and 90 % at 0.40."
)
SCORE = Mayo()
