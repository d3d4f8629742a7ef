"""Brock University (PanCan) models of the probability that a nodule is cancer.

McWilliams A et al., N Engl J Med 2013;369:910-919, doi 10.1056/NEJMoa1214726, Table 2.
P = 1 / (1 + exp(-x)), x the sum of the terms below; size enters as (size / 10 mm)^-0.5 - 1.58113883, which is centered
at 4 mm: 4 is not subtracted from the size. Age is centered at 62 years, the count at 4 nodules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..bands import BTS
from ..fields import (
    AGE,
    CHOICE,
    COUNT,
    COUNT_CONFIRMED,
    DIAMETER,
    EMPHYSEMA,
    FAMILY_HISTORY,
    NON_SOLID,
    PART_SOLID,
    PERIFISSURAL,
    SETTING,
    SEX,
    SPICULATION,
    TYPE,
    UPPER_LOBE,
    Field,
)
from ..score import Outcome, Score

_FULL = (("model", ("2a", "2b")),)
_SPICULATED = (("model", ("1b", "2b")),)
MODEL = Field(
    "model",
    "model",
    CHOICE,
    choices=("1a", "1b", "2a", "2b"),
    default="2b",
    hint="1 parsimonious, 2 full; a without spiculation, b with it",
)


@dataclass(frozen=True)
class Coefficients:
    """Of one model, by term; 0 for a term that it does not have. age: per year; count: per nodule."""

    constant: float
    size: float
    female: float
    upper_lobe: float
    spiculation: float = 0
    age: float = 0
    family_history: float = 0
    emphysema: float = 0
    non_solid: float = 0
    part_solid: float = 0
    count: float = 0


MODELS = {
    "1a": Coefficients(constant=-6.5929, size=-5.8616, female=0.5806, upper_lobe=0.6439),
    "1b": Coefficients(constant=-6.6144, size=-5.5537, female=0.6467, upper_lobe=0.6009, spiculation=0.9309),
    "2a": Coefficients(
        constant=-6.8071,
        size=-5.6693,
        female=0.5635,
        upper_lobe=0.7116,
        age=0.0321,
        family_history=0.3013,
        emphysema=0.3462,
        non_solid=-0.3005,
        part_solid=0.3395,
        count=-0.0803,
    ),
    "2b": Coefficients(
        constant=-6.7892,
        size=-5.3854,
        female=0.6011,
        upper_lobe=0.6581,
        spiculation=0.7729,
        age=0.0287,
        family_history=0.2961,
        emphysema=0.2953,
        non_solid=-0.1276,
        part_solid=0.3770,
        count=-0.0824,
    ),
}


class Brock(Score):
    """All four models; 2b is the one that guidelines mean."""

    name, title = "brock", "Brock (PanCan)"
    source = "McWilliams A et al., N Engl J Med 2013;369:910-919, doi 10.1056/NEJMoa1214726, Table 2"
    fields: ClassVar = (
        MODEL,
        replace(AGE, when=_FULL),
        SEX,
        DIAMETER,
        replace(TYPE, when=_FULL),
        UPPER_LOBE,
        replace(COUNT, when=_FULL),
        replace(COUNT_CONFIRMED, when=_FULL),
        replace(SPICULATION, when=_SPICULATED),
        replace(FAMILY_HISTORY, when=_FULL),
        replace(EMPHYSEMA, when=_FULL),
        PERIFISSURAL,
        SETTING,
    )
    variant_field = "model"
    sizes = (("diameter_mm",),)

    def inapplicable(self, values: Mapping[str, Any]) -> str | None:
        """Perifissural nodules were left out of the derivation."""
        if values["perifissural"]:
            return "Perifissural nodules were left out when it was derived."
        return super().inapplicable(values)

    def outcome(self, values: Mapping[str, Any]) -> Outcome:
        """With the bands of the British Thoracic Society."""
        terms = MODELS[values["model"]]
        x = terms.constant + terms.size * ((values["diameter_mm"] / 10) ** -0.5 - 1.58113883)
        x += terms.female * (values["sex"] == "female") + terms.upper_lobe * values["upper_lobe"]
        x += terms.spiculation * values.get("spiculation", False)
        if values["model"] in ("2a", "2b"):
            x += terms.age * (values["age"] - 62) + terms.count * (values["count"] - 4)
            x += terms.family_history * values["family_history"] + terms.emphysema * values["emphysema"]
            x += {NON_SOLID: terms.non_solid, PART_SOLID: terms.part_solid}.get(values["type"], 0)
        probability = 1 / (1 + math.exp(-x))
        band = BTS.of(probability)
        return Outcome(band.name, band.rank, band.recommendation, probability, notes=(_SCREENED,))


_SCREENED = (
    "Derived in screening: median nodule 3.5 mm, 1.5 % cancer. In routine clinical CT its AUC was 0.90 to 0.91 "
    "(Chung K et al., Thorax 2018;73:857-863). The size is the largest axial diameter, not the mean."
)
SCORE = Brock()
