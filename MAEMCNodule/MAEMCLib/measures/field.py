"""What of a CT the outline network is shown about a point, and the mask that its answer makes on the CT's own grid.

Free of torch: Slicer's process cuts the field and makes the mask, its worker runs the network between the two.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from ..images.ct import CTVolume
from ..images.sampling import check_point, sample_stack
from .mask import NoduleMask

SIDE, PIXEL_MM = 64, 0.8
"""Rows and columns of a plane, and their size."""
REACH_MM = SIDE * PIXEL_MM / 2
NEAR_MM = 5.0
"""An outline that begins farther from the point is not that of the nodule at the point."""
LOGIT_STEPS = 1000
"""Logits are sent and kept as whole thousandths, so that every process makes the same mask of them."""
_ISLAND_SHARE = 0.2
"""Of the voxels of the part at the point; a smaller part is no island of the nodule."""


@dataclass(frozen=True)
class Field:
    """Planes of a CT about a nodule's point.

    planes: (K, 64, 64) int16 HU, parallel to the CT's slices and, where these are at least PIXEL_MM apart, the slices
    themselves; only those that the CT has. first_mm, step_mm: from the point to the first plane, and on to the next,
    along their normal. affine: (4, 4) index (column, row, plane) to LPS mm. around: the CT's own voxels there.
    """

    planes: np.ndarray
    first_mm: float
    step_mm: float
    affine: np.ndarray
    point_lps: np.ndarray
    around: CTVolume


def field_about(volume: CTVolume, point_lps) -> Field:
    """The field about a point (LPS mm). Raises InputError: what ``check_point`` and ``sample_stack`` raise."""
    point, seen = check_point(volume, point_lps), volume.oriented
    along_i, along_j, along_k = seen.affine[:3, :3].T
    across = along_i / np.linalg.norm(along_i)
    normal = np.cross(across, along_j)
    normal /= np.linalg.norm(normal)
    apart = float(along_k @ normal)
    heights = (seen.origin - point) @ normal + apart * np.arange(seen.size[2])
    if abs(apart) < PIXEL_MM:
        apart = float(np.copysign(PIXEL_MM, apart))
        low, high = sorted((heights[0], heights[-1]))
        heights = np.arange(-(SIDE // 2), SIDE // 2) * apart
        heights = heights[(heights >= low) & (heights <= high)]
    within = heights[np.abs(heights) <= max(REACH_MM, np.abs(heights).min())]
    affine = np.eye(4)
    affine[:3, :3] = np.stack([across * PIXEL_MM, np.cross(normal, across) * PIXEL_MM, normal * apart], axis=1)
    affine[:3, 3] = point + normal * within[0] - affine[:3, :2] @ np.full(2, (SIDE - 1) / 2)
    hu, _ = sample_stack(volume, affine, (SIDE, SIDE, len(within)))
    planes = np.rint(hu.clip(-32000, 32000)).astype(np.int16)
    return Field(planes, float(within[0]), apart, affine, point, _crop(volume, affine, planes.shape))


def traced(field: Field, logits: np.ndarray) -> NoduleMask | None:
    """The outlined part at the point, on the CT's own grid; None where there is none.

    logits: (K, 64, 64) int16, in LOGIT_STEPS, of the field's planes; above 0 is nodule.
    """
    answer = CTVolume(logits.astype(np.float32), field.affine)
    around = field.around
    inside = sample_stack(answer, around.affine, around.array.shape[::-1], fill=-1.0, is_hu=False)[0] > 0
    if not inside.any():
        return None
    mask = NoduleMask.at(inside, around.affine, field.point_lps, _ISLAND_SHARE)
    voxels = np.argwhere(mask.array)[:, ::-1] @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    return mask if np.linalg.norm(voxels - field.point_lps, axis=1).min() <= NEAR_MM else None


def _crop(volume: CTVolume, affine: np.ndarray, shape: tuple[int, ...]) -> CTVolume:
    """A copy of the voxels of a volume that a grid covers, on the volume's grid."""
    corners = np.array(list(itertools.product(*((-0.5, n - 0.5) for n in shape[::-1]))))
    index = volume.to_index(corners @ affine[:3, :3].T + affine[:3, 3])
    low = np.clip(np.floor(index.min(axis=0)).astype(int), 0, volume.size - 1)
    high = np.clip(np.ceil(index.max(axis=0)).astype(int), 0, volume.size - 1) + 1
    array = volume.array[low[2] : high[2], low[1] : high[1], low[0] : high[0]].copy()
    moved = volume.affine.copy()
    moved[:3, 3] = volume.affine[:3, :3] @ low + volume.origin
    absent = tuple(k - int(low[2]) for k in volume.absent if low[2] <= k < high[2])
    return CTVolume(array, moved, volume.name, absent=absent)
