"""A nodule's diameter and attenuation in the middle slice of its region, as the outline network sees it there: what a
model may read beside its images.

Of the region alone, so that training, scoring and every moved click measure alike. The nodule's own measures
(``measured``) are of all slices of the CT, and may be corrected by a reader; these may not.
"""

from __future__ import annotations

import numpy as np

from .field import NEAR_MM, PIXEL_MM, SIDE
from .mask import parts_of

PERCENTILE = 90
"""Of the HU inside the outline: its densest part, where calcium is, and not the partial volume of its surface."""


def measured_values(slices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B, S, S) HU of axial slices, a millimeter a pixel, their points in the middle -> (B, 2) float32, the diameter of
    a circle as large as the outline (mm) and the attenuation (HU); and (B, 2) bool, whether there is an outline."""
    from .outline import shipped_outliner  # the commands' parsers import this file, and PyTorch takes seconds

    values = np.zeros((len(slices), 2), np.float32)
    given = np.zeros((len(slices), 2), bool)
    between = _between(slices.shape[-1])
    planes = np.rint((between @ slices @ between.T).clip(-32000, 32000)).astype(np.int16)
    for row, hu in enumerate(planes):
        # Each alone: in company the last bits of a logit are others, and a pixel at the outline's edge may be.
        inside = _at_the_point(shipped_outliner().logits(hu[None], 0.0, 0.0)[0] > 0)
        if inside.any():
            diameter = 2.0 * np.sqrt(inside.sum() / np.pi) * PIXEL_MM
            values[row], given[row] = (diameter, np.percentile(hu[inside], PERCENTILE)), True
    return values, given


def _between(side: int) -> np.ndarray:
    """(64, side): linear interpolation from pixels of a millimeter to the outline network's, both about the middle."""
    at = (np.arange(SIDE) - (SIDE - 1) / 2) * PIXEL_MM + (side - 1) / 2
    return np.stack([np.interp(at, np.arange(side), one) for one in np.eye(side)], axis=1)


def _at_the_point(outlined: np.ndarray) -> np.ndarray:
    """Of (64, 64) bool the part nearest to the middle; nothing where that is not at the point."""
    places = np.argwhere(outlined)
    if not len(places):
        return outlined
    parts, _ = parts_of(outlined)
    distances = np.linalg.norm((places - (SIDE - 1) / 2) * PIXEL_MM, axis=1)
    nearest = places[distances.argmin()]
    return (parts == parts[tuple(nearest)]) & (distances.min() <= NEAR_MM)
