"""From stored stacks to montages: shifts, right-angle rotations and flips, all exact crops without interpolation.

Zhao et al. 2025, section 2.2, names rotation, horizontal flip and translation in four directions. The point is moved in
3-D, so that both planes see the same shift; then one in-plane operation per montage, equal for its 25 tiles, is drawn
for each plane by itself: each montage stays anatomically coherent while the pair stays non-trivial.
"""

from dataclasses import dataclass, replace

import numpy as np
from MAEMCLib.inputs.montage import normalize, to_montage
from MAEMCLib.inputs.region import OUTSIDE_HU, SIDE, SLICES
from MAEMCLib.inputs.settings import Preprocessing

from ...engine.configuration import Augmentation
from ...engine.rng import generator

MARGIN = 5
"""Samples stored beyond the region on every side."""
PADDING = -32768
"""Stored where a sample lies outside the volume; no HU value is stored as this number."""
_PAPER_SHIFT_MM = 5


@dataclass(frozen=True)
class View:
    """One way to look at a case: shift_lps in whole mm; for axial and coronal (right-angle turns, flipped?)."""

    shift_lps: tuple[int, int, int] = (0, 0, 0)
    axial: tuple[int, bool] = (0, False)
    coronal: tuple[int, bool] = (0, False)


def paper_view(number: int) -> View:
    """The view 0 ... 39 of the 40: 5 positions (center, left, right, posterior, anterior) x 2 flips x 4 rotations.

    The four directions are in the axial plane, the paper's own plane; turns and flips are the same for both planes.
    """
    position, rest = divmod(number, 8)
    flip, turns = divmod(rest, 4)
    directions = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
    left, posterior = (_PAPER_SHIFT_MM * step for step in directions[position])
    return View((left, posterior, 0), (turns, bool(flip)), (turns, bool(flip)))


def draw_view(augmentation: Augmentation, slice_step: int, seed: int, epoch: int, sample: int, number: int = 0) -> View:
    """The view of one sample in one epoch; number is the sample's place among its case's views (``paper`` only).

    Shifts across the slices are whole numbers of slices, so that every crop is exact.
    """
    if augmentation.mode in ("none", "single"):
        return View()
    if augmentation.mode == "paper":
        return paper_view(number)
    rng = generator(seed, "view", epoch, sample)
    shift = _draw_shift(rng, augmentation, slice_step)
    turns = rng.integers(0, 4, size=2) * augmentation.rotate
    flips = rng.integers(0, 2, size=2) * augmentation.flip
    axial, coronal = zip(turns.tolist(), map(bool, flips), strict=True)
    return View(shift, axial, coronal)


def moved(view: View, augmentation: Augmentation, slice_step: int, seed: int, epoch: int, sample: int) -> View:
    """The same turns and flips about a point shifted anew, at least in the axial plane."""
    if augmentation.mode in ("none", "single"):
        return view
    shift = _draw_shift(generator(seed, "second-shift", epoch, sample), augmentation, slice_step)
    return replace(view, shift_lps=shift)


def _draw_shift(rng: np.random.Generator, augmentation: Augmentation, slice_step: int) -> tuple[int, int, int]:
    shift = rng.integers(-augmentation.shift_mm, augmentation.shift_mm + 1, size=3)
    # P and S are across the slices of one plane each; L is in the plane of both.
    shift[1:] = np.trunc(shift[1:] / slice_step).astype(int) * slice_step
    return tuple(shift.tolist())


def crop(stacks: np.ndarray, plane: int, view: View, slice_step: int = 1) -> tuple[np.ndarray, float]:
    """One plane of the region seen from the moved point.

    stacks: (2, 35, 60, 60) int16 as the cache stores them, axial then coronal, axes as in NoduleROI. plane: 0 axial,
    1 coronal. Returns (25, 50, 50) float32 HU with -1200 HU outside the volume, and the share of samples outside.
    """
    left, posterior, superior = view.shift_lps
    down, (turns, flipped) = (posterior, view.axial) if plane == 0 else (-superior, view.coronal)
    first, row, column = MARGIN + slices_across(view, plane, slice_step), MARGIN + down, MARGIN + left
    cut = np.rot90(stacks[plane, first : first + SLICES, row : row + SIDE, column : column + SIDE], turns, axes=(1, 2))
    cut = cut[:, :, ::-1] if flipped else cut
    outside = cut == PADDING
    hu = np.where(outside, np.float32(OUTSIDE_HU), cut.astype(np.float32))
    return hu, float(outside.mean())


def slices_across(view: View, plane: int, slice_step: int) -> int:
    """By how many slices of a plane a view is moved."""
    return view.shift_lps[2 if plane == 0 else 1] // slice_step


def montage(stacks: np.ndarray, plane: int, view: View, preprocessing: Preprocessing) -> tuple[np.ndarray, float]:
    """Network input of one plane of one view: (250, 250) float32, and the share outside the volume."""
    hu, outside = crop(stacks, plane, view, int(preprocessing.slice_step_mm))
    return to_montage(normalize(hu, preprocessing)), outside


def montage_pair(stacks: np.ndarray, view: View, preprocessing: Preprocessing) -> tuple[np.ndarray, float]:
    """Network input of one view: (2, 250, 250) float32, axial then coronal, and the share outside the volume."""
    (axial, outside_axial), (coronal, outside_coronal) = (montage(stacks, p, view, preprocessing) for p in (0, 1))
    return np.stack([axial, coronal]), (outside_axial + outside_coronal) / 2
