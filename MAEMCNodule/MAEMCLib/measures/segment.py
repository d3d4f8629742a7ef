"""A nodule's mask from a volume of labels: a segment or a label map in any of the formats of volumes, on any grid."""

import numpy as np

from ..errors import InputError
from ..images.ct import CTVolume
from .mask import NoduleMask

NEAR_MM = 5.0
"""A part of a segment that lies farther from the point is another nodule's."""


def mask_near(segment: CTVolume, point_lps) -> NoduleMask | None:
    """Of a volume that is 0 outside of segments, the part of the label nearest to a point (LPS mm); None where nothing
    lies within NEAR_MM of it. Raises InputError for an empty one."""
    voxels = np.argwhere(segment.array != 0)
    if not len(voxels):
        return NoduleMask.at(segment.array != 0, segment.affine, point_lps)  # which says what to do
    distances = np.linalg.norm(segment.to_lps(voxels[:, ::-1]) - np.asarray(point_lps, float), axis=1)
    nearest = int(np.argmin(distances))
    if distances[nearest] > NEAR_MM:
        return None
    return NoduleMask.at(segment.array == segment.array[tuple(voxels[nearest])], segment.affine, point_lps)


def check_near(mask: NoduleMask | None) -> NoduleMask:
    """The mask of ``mask_near``. Raises InputError where there is none."""
    if mask is None:
        raise InputError(
            f"The segment has nothing within {NEAR_MM:g} mm of the point. Check that point and segment are of one "
            "nodule, and whether the point is given in RAS.",
            "segment-elsewhere",
        )
    return mask
