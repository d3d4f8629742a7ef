"""From stored stacks to montages: shifts, right-angle rotations and flips, all exact crops without interpolation.

Zhao et al. 2025, section 2.2, names rotation, horizontal flip and translation in four directions. The point is moved in
3-D, so that both planes see the same shift; then one in-plane operation per montage, equal for its 25 tiles, is drawn
for each plane by itself: each montage stays anatomically coherent while the pair stays non-trivial.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from MAEMCLib.images.gray import crop_resized
from MAEMCLib.images.sampling import OUTSIDE_HU
from MAEMCLib.inputs.nodule import Preprocessing, normalize, resized, to_montage
from MAEMCLib.inputs.region import SIDE, SLICES

from ...engine.configuration import PAPER_VIEWS, Augmentation, PictureAugmentation
from ...engine.rng import generator
from .crops import random_crop
from .kind import Cases, Presentation

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


def regions(cohort: Cases, index: int) -> np.ndarray:
    """(2, 25, 50, 50) float32 HU of a case, axial and coronal, with -1200 HU outside the volume."""
    stacks, step = cohort.array(index), cohort.settings.slice_step_mm
    return np.stack([crop(stacks, plane, View(), step)[0] for plane in (0, 1)])


class MontagePresentation(Presentation):
    """Nodules as montages of 25 axial and 25 coronal slices."""

    planes = ("axial", "coronal")

    def views(
        self, kind: str, item: int, seed: int, epoch: int, sample: int, number: int
    ) -> tuple[list[np.ndarray], float]:
        """Small crops are squares of either plane's montage. Where nothing of the coronal plane was observed, the pair
        is two axial views, each varied by itself."""
        step = self.cohort.settings.slice_step_mm
        view = draw_view(self.augmentation, step, seed, epoch, sample, number)
        shown = [(0, view)]
        if kind == "shifted" or (kind != "one" and not self._observed(item, 1)):
            shown.append((0, moved(view, self.augmentation, step, seed, epoch, sample)))
        elif kind != "one":
            shown.append((1, view))
        parts = [
            self._montage(item, plane, self._light(seed, epoch, sample, place) or what)
            for place, (plane, what) in enumerate(shown)
        ]
        images = [image for image, _ in parts]
        if kind == "multi-crop":
            rng = generator(seed, "small-crops", epoch, sample)
            recipe = PictureAugmentation()
            small = round(recipe.small_side * len(images[0]))
            images += [
                random_crop(images[count % 2], recipe.small_area, small, rng) for count in range(recipe.small_crops)
            ]
        return images, sum(padded for _, padded in parts) / len(parts)

    def training_image(self, case: int, plane: int, seed: int, epoch: int, sample: int) -> tuple[np.ndarray, float]:
        """With the paper's 40 views one is drawn each epoch; an epoch shows every case once in each plane."""
        number = int(generator(seed, "view-number", epoch, sample).integers(PAPER_VIEWS))
        view = draw_view(self.augmentation, self.cohort.settings.slice_step_mm, seed, epoch, sample, number)
        return self._montage(case, plane, self._light(seed, epoch, sample, 0) or view)

    def plain(self, case: int) -> np.ndarray:
        """(2, S, S): axial and coronal, as scoring sees them."""
        return np.stack([self._montage(case, plane, View())[0] for plane in (0, 1)])

    def _light(self, *key: int) -> LightView | None:
        return draw_light_view(self.augmentation, *key) if self.augmentation.mode == "light" else None

    def _observed(self, case: int, plane: int) -> bool:
        return not self.preprocessing.skip_unobserved or self.cohort.cases[case].facts.slices(plane).any()

    def _montage(self, case: int, plane: int, view: View | LightView) -> tuple[np.ndarray, float]:
        stacks, step = self.cohort.array(case), self.cohort.settings.slice_step_mm
        facts = self.cohort.cases[case].facts
        if isinstance(view, LightView):
            if not facts.slices(plane, view.slices)[SLICES // 2]:
                view = replace(view, slices=0)  # a slab of one slice is shown where it is
            hu, outside = light_crop(stacks[plane], view, self.preprocessing)
            across, dropped = view.slices, view.dropped
        else:
            hu, outside = crop(stacks, plane, view, step)
            across, dropped = slices_across(view, plane, step), False
        values = normalize(hu, self.preprocessing)
        if self.preprocessing.skip_unobserved:
            values[~facts.slices(plane, across) | dropped] = np.nan
        if self.augmentation.mode == "single":
            return crop_resized(values[SLICES // 2], (SIDE / 2, SIDE / 2), SIDE, self.side), outside
        return resized(to_montage(values), self.side), outside


@dataclass(frozen=True)
class LightView:
    """matrix: (2, 2), a step along a row and one down a column of the view to steps of rows and columns of the stack.
    shift: (rows, columns), mm. slices: whole slices. gain, offset: of the window's share. dropped: (25,) bool, slices
    that are left out as if nothing had been observed there."""

    matrix: np.ndarray
    shift: np.ndarray
    slices: int
    gain: float
    offset: float
    dropped: np.ndarray


def draw_light_view(augmentation: Augmentation, seed: int, epoch: int, sample: int, number: int = 0) -> LightView:
    """The view of one sample in one epoch; number: of the view, where a sample has two."""
    rng = generator(seed, ("light-view", "second-light-view")[number], epoch, sample)
    angle, zoom = rng.uniform(0.0, 2.0 * np.pi), 1.0 + augmentation.zoom * rng.uniform(-1.0, 1.0)
    cosine, sine = np.cos(angle) * zoom, np.sin(angle) * zoom
    matrix = np.array([[cosine, -sine], [sine, cosine]])
    if augmentation.flip and rng.random() < 0.5:
        matrix[:, 1] *= -1.0
    shift = rng.uniform(-1.0, 1.0, size=2) * augmentation.shift_mm
    slices = int(rng.integers(-augmentation.shift_slices, augmentation.shift_slices + 1))
    gain = 1.0 + augmentation.gain * rng.uniform(-1.0, 1.0)
    offset = augmentation.offset * rng.uniform(-1.0, 1.0)
    dropped = np.zeros(SLICES, bool)
    if rng.random() < augmentation.drop_slices:
        far = np.abs(np.arange(SLICES) - SLICES // 2)
        dropped = far > rng.integers(0, augmentation.drop_reach + 1)
    return LightView(matrix, shift, slices, gain, offset, dropped)


def light_crop(stack: np.ndarray, view: LightView, preprocessing: Preprocessing) -> tuple[np.ndarray, float]:
    """One plane of the region: (35, 60, 60) int16 as stored -> (25, 50, 50) float32 HU, bilinear; beyond the stored
    field the outermost sample is repeated, and -1200 HU stand outside the volume. With the share of samples outside."""
    first = MARGIN + view.slices
    window = stack[first : first + SLICES]
    grid = np.arange(SIDE) - (SIDE - 1) / 2
    rows, columns = np.meshgrid(grid, grid, indexing="ij")
    middle = (np.array(window.shape[1:]) - 1) / 2 + view.shift
    at = [
        (view.matrix[axis, 0] * rows + view.matrix[axis, 1] * columns + middle[axis]).clip(
            0, window.shape[1 + axis] - 1
        )
        for axis in (0, 1)
    ]
    start = [np.minimum(place.astype(int), size - 2) for place, size in zip(at, window.shape[1:], strict=True)]
    share = [(place - first).astype(np.float32) for place, first in zip(at, start, strict=True)]
    flat = window.reshape(len(window), -1).astype(np.float32)
    padding = flat == PADDING
    flat[padding] = OUTSIDE_HU
    corner = start[0] * window.shape[2] + start[1]
    upper = flat[:, corner] * (1 - share[1]) + flat[:, corner + 1] * share[1]
    below = corner + window.shape[2]
    lower = flat[:, below] * (1 - share[1]) + flat[:, below + 1] * share[1]
    hu = upper * (1 - share[0]) + lower * share[0]
    low, width = preprocessing.window_lower, preprocessing.window_upper - preprocessing.window_lower
    return ((hu - low) * view.gain + low + view.offset * width).astype(np.float32), float(padding.mean())
