"""A case some time earlier: the same patient, lying a little differently, with the nodule as it was then."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from MAEMCLib.errors import UsageError

from .case import FIELD_MM, CasePlan, Earlier, centered_grid, rng_of
from .nodule import scaled

LARGEST_TURN, LARGEST_SHIFT_MM = 5.0, 12.0
"""Degrees about each axis and mm along each, by which the patient lies differently."""
LEAST, MOST = 0.5, 27.0
"""Of the growth: to three times the diameter. A nodule that shrinks was never so large that it leaves the lung."""
LONGEST_DAYS = 36500


@dataclass(frozen=True)
class PriorConfiguration:
    """days: from the prior CT to the case's own one. growth: the nodule's volume in the case by that in the prior; the
    prior's is the same shape, smaller in every direction by the cube root. Raises UsageError."""

    days: int
    growth: float

    def __post_init__(self) -> None:
        if not 1 <= self.days <= LONGEST_DAYS:
            raise UsageError(
                f"A prior CT {self.days} days earlier cannot be; give 1 to {LONGEST_DAYS} days with --prior."
            )
        if not LEAST <= self.growth <= MOST:
            raise UsageError(
                f"A growth of {self.growth:g} cannot be drawn; give the current volume by the prior one, {LEAST:g} to "
                f"{MOST:g}, with --growth."
            )


def plan_prior(plan: CasePlan, index: int, seed: int, field: str, prior: PriorConfiguration) -> CasePlan:
    """The plan of a case's prior CT, by the same protocol. index, seed, field: those that the case was drawn with."""
    rng = rng_of(seed, index, 7)
    turn = _rotation(rng.uniform(-LARGEST_TURN, LARGEST_TURN, 3))
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn, rng.uniform(-LARGEST_SHIFT_MM, LARGEST_SHIFT_MM, 3)
    nodule = scaled(plan.nodule, prior.growth ** (-1.0 / 3.0))
    room = 0.5 * min(FIELD_MM[field]) - 26.0
    middle = np.asarray(nodule.center) + rng.uniform(-0.3, 0.3, 3) * room
    # The scanner's axes are those of the case's own CT, and the patient has turned beneath them.
    direction = turn.T @ plan.grid.direction
    grid = centered_grid(middle, FIELD_MM[field], plan.grid.spacing, direction, plan.grid.thickness_mm)
    earlier = Earlier(plan.case_id, prior.days, pose, int(rng.integers(2**31)))
    return replace(plan, case_id=f"{plan.case_id}-prior", nodules=(nodule,), grid=grid, earlier=earlier)


def _rotation(degrees: np.ndarray) -> np.ndarray:
    """(3, 3): about L, then P, then S."""
    turned = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        first, second = [n for n in range(3) if n != axis]
        one = np.eye(3)
        one[first, first] = one[second, second] = np.cos(angle)
        one[first, second], one[second, first] = -np.sin(angle), np.sin(angle)
        turned = one @ turned
    return turned
