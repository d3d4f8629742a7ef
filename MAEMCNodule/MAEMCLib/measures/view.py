"""What a measured nodule looks like: planes of the CT through it, with its mask and its axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..images.ct import CTVolume
from ..inputs.region import SIDE, sample_stack
from .mask import NoduleMask
from .measures import Measures

STEP_MM = 0.25
DOWN = {"axial": (0.0, 1.0, 0.0), "coronal": (0.0, 0.0, -1.0)}
"""Direction of the rows of each plane, LPS; columns run towards the patient's left."""


@dataclass(frozen=True)
class PlaneView:
    """A plane of 50 x 50 mm through a nodule, sampled every 0.25 mm.

    hu: (200, 200) HU. inside: (200, 200) 0 to 1, above 0.5 in the mask. axes: each (2, 2), the ends of the long and of
    the short axis as mm to the right and down from the picture's middle; empty where they do not lie in the plane.
    """

    hu: np.ndarray
    inside: np.ndarray
    axes: tuple[np.ndarray, ...] = ()


def plane_views(volume: CTVolume, mask: NoduleMask, measures: Measures) -> dict[str, PlaneView]:
    """Axial through the long axis, coronal through the mask's middle. Raises InputError where the volume lacks slices
    about the nodule."""
    ends = measures.axes
    found = {}
    for plane, direction in DOWN.items():
        across, down = np.array([1.0, 0.0, 0.0]), np.array(direction)
        middle, lines = mask.center_lps, ()
        if plane == "axial":
            middle[2] = ends.long_lps[:, 2].mean()
            both = np.stack([across, down], axis=1)
            lines = tuple((line - middle) @ both for line in (ends.long_lps, ends.short_lps))
        samples = round(SIDE / STEP_MM)
        affine = np.eye(4)
        affine[:3, :3] = np.stack([across * STEP_MM, down * STEP_MM, np.cross(across, down)], axis=1)
        affine[:3, 3] = middle - (across + down) * STEP_MM * (samples - 1) / 2
        size, near = (samples, samples, 1), mask.padded(0.0)
        marked = CTVolume(near.array.astype(np.float32), near.affine)
        inside, _ = sample_stack(marked, affine, size, fill=0.0)
        found[plane] = PlaneView(sample_stack(volume, affine, size)[0][0], inside[0], lines)
    return found
