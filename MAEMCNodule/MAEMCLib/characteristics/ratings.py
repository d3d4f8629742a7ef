"""The characteristics that readers of LIDC-IDRI rated from 1 to 5, and what a rating says in a word.

The scales are those of the LIDC-IDRI reading (McNitt-Gray MF et al., Acad Radiol 2007;14:1464-1474), of which the ends
and the middle have names; those between are ours.
"""

from __future__ import annotations

import math

LOWEST, HIGHEST = 1, 5
SCALES = {
    "spiculation": (
        *("no spiculation", "slight spiculation", "moderate spiculation"),
        *("distinct spiculation", "marked spiculation"),
    ),
    "lobulation": (
        *("no lobulation", "slight lobulation", "moderate lobulation"),
        *("distinct lobulation", "marked lobulation"),
    ),
    "margin": ("poorly defined", "rather poorly defined", "moderately sharp", "rather sharp", "sharp"),
    "texture": ("ground glass", "rather ground glass", "part-solid", "rather solid", "solid"),
    "sphericity": ("linear", "rather linear", "ovoid", "rather round", "round"),
}
"""Name of a characteristic -> its words from 1 to 5."""
RATED = ("malignancy", *SCALES)
"""What the readers' ratings of a nodule are shown of, in order."""


def word_of(name: str, rating: float) -> str:
    """The word of the whole number next to a rating, upwards of a half."""
    whole = min(HIGHEST, max(LOWEST, math.floor(rating + 0.5)))
    return SCALES[name][whole - LOWEST]
