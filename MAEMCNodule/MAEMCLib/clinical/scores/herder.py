"""Herder model: the Mayo Clinic's probability and the uptake of FDG in PET.

Herder GJ et al., Chest 2005;128:2490-2496, doi 10.1378/chest.128.4.2490. A second one under this name multiplies the
odds by likelihood ratios (BTS 2015, MDCalc); it is not in the paper, gives other numbers, and is a variant of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from ..bands import BTS
from ..fields import CHOICE, Field
from ..score import Outcome, Score

PUBLISHED, LIKELIHOOD_RATIO = "published", "likelihood-ratio"
PRETEST = Field(
    "pretest", "pre-test probability", high=1, hint="by the Mayo Clinic's model, as a fraction: 0.19 and not 19"
)
UPTAKE = Field(
    "uptake",
    "FDG uptake",
    CHOICE,
    choices=("absent", "faint", "moderate", "intense"),
    hint="absent as lung, faint up to mediastinal blood pool, moderate above it, intense far above it",
)
VARIANT = Field("variant", "variant", CHOICE, choices=(PUBLISHED, LIKELIHOOD_RATIO), default=PUBLISHED)
TERMS = {"absent": 0.0, "faint": 2.322, "moderate": 4.617, "intense": 4.771}
RATIOS = {"absent": 0.08, "faint": 0.17, "moderate": 1.9, "intense": 9.9}
_LOWEST_FOR_RATIOS = 0.10


class Herder(Score):
    """The published equation, or the likelihood ratios."""

    name, title = "herder", "Herder"
    source = "Herder GJ et al., Chest 2005;128:2490-2496, doi 10.1378/chest.128.4.2490"
    fields: ClassVar = (PRETEST, UPTAKE, VARIANT)
    variant_field = "variant"

    def outcome(self, values: Mapping[str, Any]) -> Outcome:
        """With the bands of the British Thoracic Society."""
        pretest, uptake = values["pretest"], values["uptake"]
        notes = []
        if values["variant"] == PUBLISHED:
            probability = 1 / (1 + math.exp(4.739 - 3.691 * pretest - TERMS[uptake]))
            notes.append("From 106 patients, 57 % with cancer. The visual scale of uptake is that of BTS 2015.")
        else:
            weighted = pretest * RATIOS[uptake]
            probability = weighted / (weighted + 1 - pretest)
            notes.append(
                "By likelihood ratios (BTS 2015: Callister MEJ et al., Thorax 2015;70 Suppl 2:ii1-ii54), which are not "
                "in Herder's paper."
            )
            if pretest < _LOWEST_FOR_RATIOS:
                notes.append("The British Thoracic Society uses it from a pre-test probability of 10 % on.")
        band = BTS.of(probability)
        return Outcome(band.name, band.rank, band.recommendation, probability, notes=tuple(notes))


SCORE = Herder()
