"""The regions of a nodule that a click 2 mm beside the point would have given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..applicability import Finding
from ..errors import InputError
from ..images.ct import CTVolume
from ..images.sampling import observed_slices, sample_stack
from .region import PLANES, SIDE, SLICES, NoduleROI, stack_grid

JITTER_MM = 2
"""Two readers' clicks on one nodule differ by about this much."""
WIDE_RANGE = 0.2
SHIFTS = tuple((sign * np.eye(3, dtype=int)[axis]).tolist() for axis in range(3) for sign in (-1, 1))
"""Towards right, left, anterior, posterior, inferior, superior."""
WIDE = SIDE + 2 * JITTER_MM
_AXES = {"axial": ((2, 1), (1, 1), (0, 1)), "coronal": ((1, 1), (2, -1), (0, 1))}
"""Of each plane's slices, rows and columns the axis of LPS along which they run, and its sign."""


@dataclass(frozen=True)
class Margin:
    """Both stacks with JITTER_MM more on every side.

    stacks: by plane (slices, 54, 54) int16 HU. observed: by plane (slices,) bool. steps: slices more on every side.
    """

    stacks: Mapping[str, np.ndarray]
    observed: Mapping[str, np.ndarray]
    steps: int

    def arrays(self) -> dict[str, np.ndarray]:
        """What a worker in another process needs."""
        return {**self.stacks, "observed": np.stack([self.observed[plane] for plane in PLANES]).astype(np.int16)}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Margin:
        """Inverse of ``arrays``. Raises InputError for arrays of another shape."""
        stacks = {plane: arrays[plane] for plane in PLANES if plane in arrays}
        observed = arrays.get("observed", np.zeros(0))
        slices = observed.shape[1] if observed.ndim == 2 else 0
        steps, odd = divmod(slices - SLICES, 2)
        shapes = {stack.shape for stack in stacks.values()} == {(slices, WIDE, WIDE)}
        if not shapes or len(stacks) != len(PLANES) or len(observed) != len(PLANES) or steps < 1 or odd:
            text = f"A margin has the arrays {', '.join(PLANES)} (slices x {WIDE} x {WIDE}) and observed (2 x slices)."
            raise InputError(text, "margin")
        return cls(stacks, dict(zip(PLANES, observed != 0, strict=True)), steps)


def margin_steps(slice_step_mm: float) -> int:
    """The number of slices that come nearest to JITTER_MM."""
    return max(1, round(JITTER_MM / slice_step_mm))


def cut_margin(volume: CTVolume, point_lps, slice_step_mm: float = 1.0) -> Margin | None:
    """About a point (LPS mm) of a volume; None where a slice has no image there, which the score may not need."""
    steps = margin_steps(slice_step_mm)
    stacks, observed = {}, {}
    for plane in PLANES:
        grid = stack_grid(plane, point_lps, slice_step_mm)
        grid[:3, 3] -= grid[:3, :3] @ np.array([JITTER_MM, JITTER_MM, steps])
        size = (WIDE, WIDE, SLICES + 2 * steps)
        try:
            hu, _ = sample_stack(volume, grid, size)
        except InputError:
            return None
        stacks[plane] = np.rint(hu.clip(-32000, 32000)).astype(np.int16)
        observed[plane] = observed_slices(volume, grid, size)
    return Margin(stacks, observed, steps)


def jittered(margin: Margin, slice_step_mm: float) -> list[NoduleROI]:
    """The regions about the six points JITTER_MM beside a point, those in the volume; across the slices it is the
    nearest whole number of steps.

    A region with fewer slices observed than there are about the point itself is left out: it differs by what the file
    holds, and not by the click.
    """
    own = _shifted(margin, (0, 0, 0), slice_step_mm)
    regions = [_shifted(margin, shift, slice_step_mm) for shift in SHIFTS]
    return [one for one in regions if all((one.observed[p] >= own.observed[p])[_MIDDLE].all() for p in PLANES)]


def click_finding(low: float, high: float, threshold: float) -> Finding | None:
    """What the range of a probability over clicks JITTER_MM apart says: that its class, or much of its value, depends
    on the click. None where neither does. threshold: from which on a nodule is of the positive class."""
    found = f"{JITTER_MM} mm beside the point the score is {low:.2f} to {high:.2f}"
    if low < threshold <= high:
        return Finding(
            "amber", "class-by-click", f"The class depends on the click: {found}, threshold {threshold:.2f}."
        )
    if high - low > WIDE_RANGE:
        return Finding("amber", "score-by-click", f"The score depends on the click: {found}.")
    return None


_MIDDLE = slice(SLICES // 2 - 3, SLICES // 2 + 4)
"""What lies within three steps of the point decides; further out a volume may end."""


def _shifted(margin: Margin, shift: tuple[int, int, int], slice_step_mm: float) -> NoduleROI:
    stacks, observed = {}, {}
    for plane, axes in _AXES.items():
        slices, rows, columns = (
            sign * shift[axis] * by for (axis, sign), by in zip(axes, (margin.steps, JITTER_MM, JITTER_MM), strict=True)
        )
        low = margin.steps + slices, JITTER_MM + rows, JITTER_MM + columns
        box = tuple(slice(start, start + n) for start, n in zip(low, (SLICES, SIDE, SIDE), strict=True))
        stacks[plane] = margin.stacks[plane][box].astype(np.float32)
        observed[plane] = margin.observed[plane][box[0]]
    return NoduleROI(stacks["axial"], stacks["coronal"], (0.0, 0.0, 0.0), slice_step_mm, 0.0, observed)
