"""Outlines of phantom nodules, whose surface is known: ellipsoids and lobulated ones in slices from thin to thick."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.measures.outline import Outliner

from ..phantom.case import CasePlan, PhantomConfiguration, centered_grid, plan_case, render_volume
from ..phantom.scanner import nodule_mask
from .judging import outlined, sizes

SLICES_MM = (0.7, 1.25, 2.5, 5.0)
PIXEL_MM, FINE_MM = 0.7, 0.35
_FIELD_MM = (64.0, 64.0, 64.0)
_SEED = 20261130


@dataclass(frozen=True)
class Phantom:
    """Of one phantom in slices of ``slice_mm``: errors of both diameters in mm, NaN where nothing was outlined."""

    lobulated: bool
    slice_mm: float
    diameter_mm: float
    error_mm: float
    sphere_error_mm: float


def judge_phantoms(outliner: Outliner, cases: int) -> list[Phantom]:
    """So many phantoms, ellipsoids and lobulated ones by turns, in slices of each thickness, clicked in the middle."""
    found = []
    for index in range(cases):
        plan = plan_case(index, PhantomConfiguration(cases, seed=_SEED))
        plan = replace(plan, nodules=(replace(plan.nodule, strands=()),))
        truth = _sizes(plan)
        for slice_mm in SLICES_MM:
            grid = _grid(plan, (PIXEL_MM, PIXEL_MM, slice_mm))
            volume = render_volume(replace(plan, grid=grid))
            nodule, _ = outlined(outliner, CTVolume(volume.array, volume.affine), np.array(plan.nodule.center))
            errors = (np.nan, np.nan)
            if nodule is not None:
                errors = nodule.measures.mean_diameter_mm - truth[0], nodule.measures.equivalent_diameter_mm - truth[1]
            found.append(Phantom(bool(plan.nodule.label), slice_mm, truth[0], *errors))
    return found


def _sizes(plan: CasePlan) -> tuple[float, float]:
    """Mean diameter and diameter of the sphere, of the body on a fine grid."""
    grid = _grid(plan, (FINE_MM, FINE_MM, FINE_MM))
    return sizes(nodule_mask(plan.nodule, grid) > 0, grid.affine)


def _grid(plan: CasePlan, spacing: tuple[float, float, float]):
    return centered_grid(plan.nodule.center, _FIELD_MM, spacing, np.eye(3), spacing[2])
