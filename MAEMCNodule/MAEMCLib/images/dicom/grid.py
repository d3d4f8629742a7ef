"""Slices laid on one regular grid: which slice is which, which are missing, and how far each lies off its place."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...errors import InputError
from .image import Slice, refused

SMALLEST_TOLERANCE_MM = 0.1
TOLERANCE_STEPS = 0.1
"""A slice may lie off the place that the affine gives it by a tenth of the step between slices, or 0.1 mm."""
SAME_PLACE_MM = 0.01
SAME_STEP = 0.02, 0.02
"""Steps between slices are the same where they differ by less than 0.02 mm and 2 %."""
RUN = 3
"""This many equal steps in a row are a spacing of their own; fewer are slices that are missing."""
_NAMED = 3


@dataclass(frozen=True)
class Grid:
    """Ordered slices and their places.

    numbers: (slices,) the index k of each slice, rising from 0. affine: (4, 4) index (i, j, k) to LPS mm; its slice
    axis runs between the first and the last position, so gantry tilt is kept. off_mm: the largest distance of a
    slice from its place, at any of its corners.
    """

    slices: tuple[Slice, ...]
    numbers: np.ndarray
    affine: np.ndarray
    off_mm: float

    @property
    def absent(self) -> tuple[int, ...]:
        """The numbers without a slice."""
        return tuple(sorted(set(range(self.depth)) - set(self.numbers.tolist())))

    @property
    def depth(self) -> int:
        """Number of slices, missing ones included."""
        return int(self.numbers[-1]) + 1

    @property
    def step_mm(self) -> float:
        """Distance between neighboring slices."""
        return float(np.linalg.norm(self.affine[:3, 2]))

    @property
    def tolerance_mm(self) -> float:
        """How far a slice may lie off its place."""
        return max(SMALLEST_TOLERANCE_MM, TOLERANCE_STEPS * self.step_mm)

    def place(self, item: Slice) -> tuple[float, float]:
        """(Index k, distance in mm from the line of first voxels) of an image that may belong to the grid."""
        axis = self.affine[:3, 2]
        k = float((item.position - self.affine[:3, 3]) @ axis / (axis @ axis))
        return k, float(np.linalg.norm(item.position - self.affine[:3, 3] - k * axis))

    def gaps(self) -> str:
        """The missing slices in words: how many, and where in LPS mm along the axis that the slices are stacked on."""
        axis = int(np.argmax(np.abs(self.affine[:3, 2])))
        texts = []
        for before, after in pairwise(self.numbers.tolist()):
            if after > before + 1:
                first, last = (self.affine[axis, 3] + k * self.affine[axis, 2] for k in (before + 1, after - 1))
                texts.append(f"{'LPS'[axis]} {first:.1f}" + (f" to {last:.1f}" if after > before + 2 else ""))
        more = f" and {len(texts) - _NAMED} further places" if len(texts) > _NAMED else ""
        return f"{len(self.absent)} of {self.depth} slices are missing, at {', '.join(texts[:_NAMED])}{more} mm"


def lay(slices: Sequence[Slice]) -> Grid:
    """Order slices of one size and direction along their normal and lay them on a regular grid.

    Raises InputError: a single slice, two at one position, uneven or several spacings, slices that drift sideways, more
    missing than there.
    """
    if len(slices) < 2:
        raise InputError("a single slice", "dicom-single")
    ordered, gaps = _ordered(slices)
    if gaps.min() < SAME_PLACE_MM:
        raise refused(
            "two slices at one position; it may hold two reconstructions or phases, which nothing in their headers "
            "tells apart: export one of them alone",
            ordered[int(np.argmin(gaps))].path,
            "dicom-duplicate",
        )
    step = float(np.sort(gaps)[(len(gaps) - 1) // 2])  # a gap that is there, whatever the number of gaps
    steps = np.maximum(np.rint(gaps / step), 1)
    step = float(gaps[steps == 1].mean())
    steps = np.maximum(np.rint(gaps / step), 1).astype(int)
    several = _spacings(gaps)
    if several and any((steps[at : at + RUN] > 1).all() for at in range(len(steps) - RUN + 1)):
        raise InputError(several, "dicom-spacings")  # and not slices that are missing
    numbers = np.concatenate([[0], np.cumsum(steps)])
    if numbers[-1] + 1 > 2 * len(ordered):
        missing = int(numbers[-1]) + 1 - len(ordered)
        raise InputError(f"slices are missing: {missing}, more than there are ({len(ordered)})", "dicom-missing-slices")
    first = ordered[0]
    affine = np.eye(4)
    affine[:3, 0] = first.orientation[:3] * first.pixel_spacing[1]
    affine[:3, 1] = first.orientation[3:] * first.pixel_spacing[0]
    affine[:3, 2] = (ordered[-1].position - first.position) / int(numbers[-1])
    affine[:3, 3] = first.position
    # The worst corner of each slice against that of the first, shifted by whole steps.
    wanted = first.corners() + numbers[:, None, None] * affine[:3, 2]
    off = np.linalg.norm(np.array([item.corners() for item in ordered]) - wanted, axis=-1).max(axis=1)
    grid = Grid(tuple(ordered), numbers, affine, float(off.max()))
    if grid.off_mm > grid.tolerance_mm:
        if several:
            raise InputError(several, "dicom-spacings")
        raise refused(
            f"the slices are unevenly spaced: one lies {grid.off_mm:.2f} mm off its place on an even grid with a step "
            f"of {grid.step_mm:.2f} mm",
            ordered[int(np.argmax(off))].path,
            "dicom-uneven",
        )
    return grid


def runs_of_one_step(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Slices of several spacings in stretches of one spacing each; a slice between two stretches is in the first."""
    ordered, gaps = _ordered(slices)
    return [ordered[begin:end] for begin, end in pairwise([0, *(end + 1 for _, end in _stretches(gaps))])]


def _ordered(slices: Sequence[Slice]) -> tuple[list[Slice], np.ndarray]:
    """The slices along their normal, and the distances between neighbors in mm."""
    normal = slices[0].normal
    ordered = sorted(slices, key=lambda item: float(item.position @ normal))
    return ordered, np.diff([float(item.position @ normal) for item in ordered])


def _stretches(gaps: np.ndarray) -> list[tuple[int, int]]:
    """(begin, end) of each run of equal gaps."""
    changes = [at for at in range(1, len(gaps)) if not _same(gaps[at], gaps[at - 1])]
    return list(pairwise([0, *changes, len(gaps)]))


def _spacings(gaps: np.ndarray) -> str:
    """Several spacings, each over a stretch, in words; "" where there is one."""
    lengths: dict[float, int] = {}
    for begin, end in _stretches(gaps):
        if end - begin >= RUN:
            value = float(gaps[begin:end].mean())
            value = next((other for other in lengths if _same(other, value)), value)
            lengths[value] = lengths.get(value, 0) + end - begin
    if len(lengths) < 2 or sum(lengths.values()) < 0.8 * len(gaps):
        return ""
    steps = ", ".join(f"{count} steps of {value:.2f} mm" for value, count in lengths.items())
    return f"it has several slice spacings, so that its slices are unevenly spaced: {steps}"


def _same(a: float, b: float) -> bool:
    return abs(a - b) < max(SAME_STEP[0], SAME_STEP[1] * min(a, b))
