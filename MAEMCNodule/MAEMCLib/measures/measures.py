"""What is measured of a nodule, given its mask: size, attenuation, composition, and whether the mask is all of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..images.ct import CTVolume
from ..images.sampling import sample_stack
from .axes import Axes, axes
from .mask import NoduleMask, largest_part
from .slope import slope

SOLID_HU = -300.0
"""Voxels above are counted as solid tissue."""
SOLID_SHARE, GROUND_GLASS_SHARE = 0.8, 0.2
"""From this share of solid voxels on a nodule is solid, under that one it is ground glass; part-solid between."""
RIM_MM = 1.0
"""Left out all around before attenuation is measured: voxels at the surface are half lung, and readers' outlines are
generous."""
STEEP_HU_PER_MM = 150.0
"""Where attenuation changes as fast as this it says nothing of composition: it is the slope between tissue and lung.
This project's proposal, by LIDC-IDRI slabs: ``maemc-train gates`` sets what is measured beside readers' texture."""
SHELL_MM = 2.0
"""About the mask: what it borders on."""
WALL_SHARE = 0.5
"""A mask that borders on soft tissue by more than this share is attached to the chest wall or a vessel, and its surface
there is a guess."""
READERS_DIFFER_MM = 1.6
"""Nine of ten times two readers' equivalent diameters of a nodule of LIDC-IDRI differ by less than this (half the time
by less than 0.57 mm)."""


@dataclass(frozen=True)
class Measures:
    """mm, mm3 and HU. mean_diameter_mm: of both axes. equivalent_diameter_mm: of the sphere of this volume.

    composition: "solid", "part-solid" or "ground-glass", by solid_share: of the voxels below the rim that lie on no
    steep slope, or of all where each does, since partial volume is no ground glass. solid_long_axis_mm,
    solid_mean_diameter_mm: of the solid part of a part-solid nodule. diameter_error_mm: nine of ten mean diameters
    measured like this one are nearer to the readers'.
    status: "whole", or why the numbers may be wrong: "border" (the mask is cut off by the volume's border), "islands"
    (several parts; only the one at the point is measured), "wall" (it borders on soft tissue).
    """

    axes: Axes
    volume_mm3: float
    mean_hu: float
    hu_range: tuple[float, float]
    composition: str
    solid_share: float
    solid_long_axis_mm: float | None
    soft_border_share: float
    status: str
    solid_mean_diameter_mm: float | None = None
    diameter_error_mm: float = READERS_DIFFER_MM

    @property
    def mean_diameter_mm(self) -> float:
        return (self.axes.long_mm + self.axes.short_mm) / 2

    @property
    def equivalent_diameter_mm(self) -> float:
        return (6.0 * self.volume_mm3 / np.pi) ** (1.0 / 3.0)


def measure(volume: CTVolume, mask: NoduleMask) -> Measures:
    """Measure a nodule of a CT. Raises InputError where the mask does not lie in the volume."""
    near = mask.padded(SHELL_MM)
    hu, outside = sample_stack(volume, near.affine, near.array.shape[::-1])
    if outside == 1.0:
        raise InputError(
            "The segment lies outside the volume. Check that both belong together, or leave the segment out.",
            "segment-outside",
        )
    depth, distance = near.distances()
    core = depth > RIM_MM
    inner = hu[core if core.any() else near.array]
    flat = core & (slope(hu, near.spacing) < STEEP_HU_PER_MM)
    share = float(np.mean((hu[flat] if flat.any() else inner) > SOLID_HU))
    solid = near.array & (hu > SOLID_HU)
    composition = _composition(share)
    measured = axes(near.array, near.affine)
    part = axes(largest_part(solid), near.affine) if composition == "part-solid" and solid.any() else None
    shell = hu[(distance > 0) & (distance <= SHELL_MM)]  # empty where voxels are longer than it is thick
    soft = float(np.mean(shell > SOLID_HU)) if shell.size else 0.0
    status = "border" if mask.touches_border(volume) else "islands" if mask.islands > 1 else "whole"
    return Measures(
        measured,
        float(mask.array.sum()) * mask.voxel_mm3,
        float(inner.mean()),
        tuple(np.percentile(inner, (5, 95)).tolist()),
        composition,
        share,
        None if part is None else part.long_mm,
        soft,
        "wall" if status == "whole" and soft > WALL_SHARE else status,
        None if part is None else (part.long_mm + part.short_mm) / 2,
    )


def _composition(solid_share: float) -> str:
    if solid_share >= SOLID_SHARE:
        return "solid"
    return "ground-glass" if solid_share < GROUND_GLASS_SHARE else "part-solid"
