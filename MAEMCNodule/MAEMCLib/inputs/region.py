"""The two stacks of slices around a nodule: what the network sees, and where it lies in the patient."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..images.ct import CTVolume
from ..images.sampling import check_point, observed_slices, sample_stack

SIDE = 50
"""Rows and columns of a slice, 1 mm each: the 50 mm region of Zhao et al. 2025, section 2.2."""
SLICES = 25
_DIRECTIONS = {"axial": np.eye(3), "coronal": np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])}
"""Of each plane the direction, LPS, of its columns, rows and slices."""
PLANES = tuple(_DIRECTIONS)


@dataclass(frozen=True)
class NoduleROI:
    """Axial and coronal stacks about one point, sampled along the patient's axes.

    axial: (25, 50, 50) float32 HU; slices inferior to superior, rows towards posterior, columns towards left.
    coronal: (25, 50, 50) float32 HU; slices anterior to posterior, rows towards inferior, columns towards left.
    point_lps: LPS mm. slice_step_mm: distance between slices.
    padded_fraction: share of all samples that lie outside the volume, where -1200 HU stands. observed: by plane (25,)
    bool, as ``observed_slices`` says; what is not observed is unknown and not air.
    """

    axial: np.ndarray
    coronal: np.ndarray
    point_lps: tuple[float, float, float]
    slice_step_mm: float
    padded_fraction: float
    observed: Mapping[str, np.ndarray] = field(default_factory=lambda: dict.fromkeys(PLANES, np.ones(SLICES, bool)))

    def affine(self, plane: str) -> np.ndarray:
        """(4, 4) index (column, row, slice) of the stack of a plane to LPS mm."""
        return stack_grid(plane, self.point_lps, self.slice_step_mm)


def stack_grid(plane: str, point_lps, slice_step_mm: float = 1.0, margin: int = 0) -> np.ndarray:
    """(4, 4) index to LPS mm of a plane's stack; margin: samples more on every side, for augmentation."""
    affine = np.eye(4)
    affine[:3, :3] = _DIRECTIONS[plane] * (1.0, 1.0, slice_step_mm)
    half, last = (SIDE - 1) / 2 + margin, (SLICES - 1) / 2 + margin
    affine[:3, 3] = np.asarray(point_lps, float) - affine[:3, :3] @ (half, half, last)
    return affine


def cut_roi(volume: CTVolume, point_lps, slice_step_mm: float = 1.0) -> NoduleROI:
    """Cut both stacks about the exact point, trilinear, reading only the voxels around it.

    Sample centers lie at -24.5 ... +24.5 mm in plane and at -12 ... +12 steps across (Zhao et al. 2025, section 2.2:
    50 mm regions of 25 slices at 1 mm). Raises InputError: what ``check_point`` raises, NaN near the point.
    """
    point = check_point(volume, point_lps)
    grids = {plane: stack_grid(plane, point, slice_step_mm) for plane in PLANES}
    stacks, outside = zip(*(sample_stack(volume, grid, (SIDE, SIDE, SLICES)) for grid in grids.values()), strict=True)
    observed = {plane: observed_slices(volume, grid, (SIDE, SIDE, SLICES)) for plane, grid in grids.items()}
    return NoduleROI(*stacks, tuple(point.tolist()), float(slice_step_mm), sum(outside) / 2, observed)
