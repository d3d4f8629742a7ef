"""Where a volume lies in the patient, from its header alone, and whether a point is inside."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from MAEMCLib.errors import InputError
from MAEMCLib.images.files import read_header


@dataclass(frozen=True)
class VolumeBox:
    """size: voxels along i, j, k. affine: (4, 4) index to LPS mm."""

    size: tuple[int, int, int]
    affine: np.ndarray

    def holds(self, lps: tuple[float, float, float]) -> bool:
        """Whether a point in LPS mm lies in one of the voxels, the outermost ones to their outer faces."""
        index = np.linalg.solve(self.affine[:3, :3], np.asarray(lps, dtype=float) - self.affine[:3, 3])
        return bool((index >= -0.5).all() and (index <= np.array(self.size) - 0.5).all())


def read_box(path: Path) -> VolumeBox:
    """Read the header of a volume file (NRRD, NIfTI, MetaImage). Raises InputError: damaged, not 3-D, not gray."""
    header = read_header(path)
    if abs(np.linalg.det(header.affine[:3, :3])) < 1e-9:
        raise InputError(f"{path.name} states a geometry that cannot be used", "geometry")
    return VolumeBox(header.size, header.affine)
