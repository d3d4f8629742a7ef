"""The middle of a nodule: where a point that lies beside it is offered to go."""

from __future__ import annotations

import numpy as np

from .measured import MeasuredNodule

CUT_OFF = "border"
"""Status of a mask whose middle is not the nodule's."""


def snap(nodule: MeasuredNodule | None) -> dict[str, float]:
    """The columns snap_l_mm, snap_p_mm and snap_s_mm: the centroid of the mask, or the voxel of it nearest to that, LPS
    mm. Empty without a mask, or where the volume's border cuts it off."""
    if nodule is None or nodule.measures.status == CUT_OFF:
        return {}
    mask = nodule.mask
    voxels = np.argwhere(mask.array)[:, ::-1] @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    middle = mask.center_lps
    nearest = voxels[np.argmin(np.linalg.norm(voxels - middle, axis=1))]
    if np.abs(nearest - middle).max() > mask.spacing.max():  # a bent nodule: its centroid lies beside it
        middle = nearest
    return dict(zip(("snap_l_mm", "snap_p_mm", "snap_s_mm"), map(float, middle), strict=True))
