"""What needs no training to see that a point lies in no lung nodule: its surroundings within 40 mm."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..applicability import Finding
from ..images.ct import AIR_BELOW_HU, CTVolume

NO_LUNG, UNBOUNDED = "no-lung", "unbounded"
RULED_OUT = (NO_LUNG, UNBOUNDED)
"""The codes of findings by which a point lies in no nodule, whatever the network says."""
REACH_MM, STEP_MM = 40.0, 2.0
LUNG_HU = (-975.0, AIR_BELOW_HU)
"""Aerated lung; what is darker is air outside of the patient, or in the stomach."""
LUNG_SHARE = 0.02
"""So much of what is seen within REACH_MM is lung, at least, about every nodule."""
BOUNDED_SHARE, FEWEST = 0.25, 100
"""In so many directions, at least, a nodule or mass ends within REACH_MM; judged where so many can be followed."""
DIRECTIONS = 300


def surroundings(volume: CTVolume, point_lps) -> Iterator[Finding]:
    """Findings about a point (LPS mm): no lung near it, or nothing that ends near it. Both are red."""
    reach = np.arange(STEP_MM, REACH_MM + STEP_MM / 2, STEP_MM)
    ways = np.asarray(point_lps, float) + _directions()[:, None] * reach[:, None]
    hu = _nearest(volume, ways)
    known = np.isfinite(hu)
    lung = (hu > LUNG_HU[0]) & (hu < LUNG_HU[1])
    share = float((lung * reach**2).sum() / max((known * reach**2).sum(), 1.0))
    if share < LUNG_SHARE:
        text = (
            f"Only {share:.0%} of what lies within {REACH_MM:.0f} mm of the point is lung: no lung nodule lies there."
        )
        yield Finding("red", NO_LUNG, text)
    dark = hu < AIR_BELOW_HU
    ended = dark.any(axis=1)
    followed = ended | known.all(axis=1)
    if followed.sum() >= FEWEST and ended[followed].mean() < BOUNDED_SHARE:
        text = (
            f"In {1 - ended[followed].mean():.0%} of all directions nothing ends within {REACH_MM:.0f} mm: the point "
            "lies in an organ or the chest wall, and in no nodule."
        )
        yield Finding("red", UNBOUNDED, text)


def _directions() -> np.ndarray:
    """(DIRECTIONS, 3) evenly over the sphere, along a spiral of golden angles."""
    height = 1.0 - (2.0 * np.arange(DIRECTIONS) + 1.0) / DIRECTIONS
    turn = np.pi * (1.0 + np.sqrt(5.0)) * np.arange(DIRECTIONS)
    flat = np.sqrt(1.0 - height**2)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), height], axis=1)


def _nearest(volume: CTVolume, points_lps: np.ndarray) -> np.ndarray:
    """HU of the voxels that hold points (..., 3); NaN outside the volume and in slices that have no image."""
    index = np.rint(volume.to_index(points_lps)).astype(int)
    inside = ((index >= 0) & (index < volume.size)).all(axis=-1)
    i, j, k = np.moveaxis(np.clip(index, 0, volume.size - 1), -1, 0)
    if volume.absent:
        inside &= ~np.isin(k, volume.absent)
    return np.where(inside, volume.array[k, j, i], np.nan)
