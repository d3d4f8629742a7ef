"""Where a volume lies in the patient, from its header alone: is a point inside it?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from MAEMCLib.ct import itk_reason
from MAEMCLib.errors import InputError


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
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"the volume {path.name} cannot be read: {itk_reason(error)}", "unreadable") from error
    if reader.GetDimension() != 3 or reader.GetNumberOfComponents() != 1:
        raise InputError(f"{path.name} is not a single 3-D volume of gray values", "not-3d")
    affine = np.eye(4)
    affine[:3, :3] = np.array(reader.GetDirection()).reshape(3, 3) * np.array(reader.GetSpacing())
    affine[:3, 3] = reader.GetOrigin()
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(f"{path.name} states a geometry that cannot be used", "geometry")
    return VolumeBox(tuple(int(n) for n in reader.GetSize()), affine)
