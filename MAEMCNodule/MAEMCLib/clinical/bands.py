"""Bands of a probability of cancer: whose they are, and what they advise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Band:
    """name: ``low``. recommendation: what its source advises. rank: 0 is the lowest."""

    name: str
    recommendation: str
    rank: int


@dataclass(frozen=True)
class Bands:
    """Below ``low``, from ``low`` to ``high`` (both belong to it), above ``high``. source: of the bands, in words."""

    source: str
    low: float
    high: float
    recommendations: tuple[str, str, str]

    def of(self, probability: float) -> Band:
        """The band of a probability, 0 to 1."""
        rank = 0 if probability < self.low else 1 if probability <= self.high else 2
        low, high = f"{100 * self.low:g}", f"{100 * self.high:g}"
        texts = (f"below {low} %", f"{low} to {high} %", f"above {high} %")
        return Band(f"{texts[rank]} ({self.source})", self.recommendations[rank], rank)


_BY_SETTING = "Follow-up is that of the guideline for the setting: Fleischner 2017 (incidental), Lung-RADS (screening)."
ACCP = Bands("ACCP", 0.05, 0.65, (_BY_SETTING,) * 3)
"""Of the American College of Chest Physicians, as Fleischner 2017 quotes them (MacMahon H et al., Radiology
2017;284:228-243): low, intermediate and high. What the college advises for each could not be read, and is left out."""

BTS = Bands(
    "BTS 2015",
    0.10,
    0.70,
    (
        "CT surveillance.",
        "Image-guided biopsy is considered; where PET/CT is made, the risk is assessed again with Herder.",
        "Excision or non-surgical treatment is considered.",
    ),
)
"""Of the British Thoracic Society, for the risk by Brock or Herder (Callister MEJ et al., Thorax 2015;70 Suppl 2:
ii1-ii54)."""
