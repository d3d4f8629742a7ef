"""A nodule's mask from a file: a segment or a label map in any of the formats of volumes, on a grid of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InputError
from ..images.reading_process import ReadingProcess
from .mask import NoduleMask

FARTHEST_MM = 10.0
"""A point further than this from every voxel of a segment means another nodule than the segment."""


def read_segment(reader: ReadingProcess, path: str | Path, point_lps) -> NoduleMask:
    """The part of a segment that holds the point or lies nearest to it; every voxel above 0 is of the segment.

    point_lps: LPS mm. Raises InputError: what reading raises, an empty segment, none of it near the point.
    """
    volume = reader.read(path)
    mask = NoduleMask.at(volume.array > 0, volume.affine, point_lps)
    index = np.argwhere(mask.array)[:, ::-1]
    places = index @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    distance = float(np.linalg.norm(places - np.asarray(point_lps, float), axis=1).min())
    if distance > FARTHEST_MM:
        raise InputError(
            f"The segment has nothing near the point: its nearest voxel is {distance:.0f} mm away. Check that point "
            "and segment are of one nodule, and whether the point is given in RAS.",
            "segment-elsewhere",
        )
    return mask
