"""What the detector of nodules sees of a CT: three axial slices of 25 mm about a point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..images.ct import CTVolume
from ..images.sampling import observed_slices, sample_stack

SIDE_MM, PIXELS, SLICES, STEP_MM = 25.0, 32, 3, 1.0
"""25 mm hold a nodule's surroundings, and lie inside what is stored of LIDC's nodules wherever the detector learns.
Slices 1 mm apart tell a vessel that runs on from a nodule, and still lie in a nodule of 3 mm."""


@dataclass(frozen=True)
class Patch:
    """hu: (3, 32, 32) int16 HU; slices inferior to superior, rows towards posterior, columns towards left.
    observed: (3,) bool, which slices the volume has; what stands in the others is no measurement."""

    hu: np.ndarray
    observed: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """What a worker in another process needs."""
        return {"hu": self.hu, "observed": self.observed.astype(np.int16)}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Patch:
        """Inverse of ``arrays``. Raises InputError for arrays of another shape."""
        hu, observed = arrays.get("hu"), arrays.get("observed")
        if hu is None or observed is None or hu.shape != (SLICES, PIXELS, PIXELS) or observed.shape != (SLICES,):
            text = f"A patch has the arrays hu ({SLICES} x {PIXELS} x {PIXELS}) and observed ({SLICES})."
            raise InputError(text, "patch")
        return cls(hu, observed != 0)


def patch_grid(point_lps) -> np.ndarray:
    """(4, 4) index (column, row, slice) of the patch about a point to LPS mm."""
    affine = np.diag([SIDE_MM / PIXELS, SIDE_MM / PIXELS, STEP_MM, 1.0])
    affine[:3, 3] = np.asarray(point_lps, float) - affine[:3, :3] @ np.array([PIXELS - 1, PIXELS - 1, SLICES - 1]) / 2
    return affine


def cut_patch(volume: CTVolume, point_lps) -> Patch:
    """The patch about a point (LPS mm) of a volume. Raises InputError: what ``sample_stack`` raises."""
    grid, size = patch_grid(point_lps), (PIXELS, PIXELS, SLICES)
    hu, _ = sample_stack(volume, grid, size)
    return Patch(np.rint(hu.clip(-32000, 32000)).astype(np.int16), observed_slices(volume, grid, size))
