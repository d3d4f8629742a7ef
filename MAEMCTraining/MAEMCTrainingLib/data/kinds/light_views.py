"""Light views of stored stacks: any angle in the plane, zoom, shifts by parts of a millimeter, changed attenuation.

What in-plane interpolation changes of an image, it changes of training images alone: no class, scanner or file decides
on it. Across the slices a view moves by whole slices, so that none is mixed with its neighbors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from MAEMCLib.inputs.region import OUTSIDE_HU, SIDE, SLICES
from MAEMCLib.inputs.settings import Preprocessing

from ...engine.configuration import Augmentation
from ...engine.rng import generator
from .montage_views import MARGIN, PADDING


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
