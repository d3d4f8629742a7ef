"""Axial slices of a CT as 8-bit pictures: one orientation and one numbering, whichever way the volume is stored.

Leaving out slices, training and scoring all take a slice of a volume from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from .ct import WINDOW_HU, CTVolume

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm")


def is_volume(image: Path) -> bool:
    """Whether the image of a slice's row is the whole volume and not a picture of the slice."""
    return image.is_dir() or image.suffix.lower() not in PICTURE_SUFFIXES


def axial_view(volume: CTVolume) -> np.ndarray:
    """(slices, rows, columns) of the volume's own array: slices towards S, rows towards P, columns towards L, along the
    array's axes that come nearest to these.
    """
    axes, backwards = _order(volume)
    stack = volume.array.transpose([2 - axis for axis in axes])
    return stack[tuple(slice(None, None, -1 if turned else 1) for turned in backwards)]


def axial_slices(volume: CTVolume) -> np.ndarray:
    """(slices, rows, columns) uint8 of ``axial_view``: the window [-1200, 200] HU as 0 to 255."""
    stack = axial_view(volume)
    gray = np.empty(stack.shape, np.uint8)
    for place, hu in enumerate(stack):  # one at a time: a CT in float32 would take four times its memory
        gray[place] = windowed(hu)
    return gray


def windowed(hu: np.ndarray) -> np.ndarray:
    """HU -> uint8, the window [-1200, 200] HU as 0 to 255; what is not finite is at the window's ends."""
    low, high = WINDOW_HU
    inside = np.nan_to_num(np.clip(hu.astype(np.float32), low, high), nan=low)
    return np.rint((inside - low) * (255 / (high - low))).astype(np.uint8)


def axial_affine(volume: CTVolume) -> np.ndarray:
    """(4, 4) index (column, row, slice) of ``axial_view`` to LPS mm at the pixels' centers."""
    axes, backwards = _order(volume)
    index = np.zeros((4, 4))
    index[3, 3] = 1.0
    for place, axis, turned in zip((2, 1, 0), axes, backwards, strict=True):
        index[axis, place] = -1.0 if turned else 1.0
        index[axis, 3] = volume.size[axis] - 1.0 if turned else 0.0
    return volume.affine @ index


def slice_through(volume: CTVolume, point_lps: Sequence[float]) -> int:
    """The number of the slice of ``axial_view`` that a point (LPS mm) lies in. Raises InputError where none does."""
    number = round(float((np.linalg.inv(axial_affine(volume)) @ [*point_lps, 1.0])[2]))
    if not 0 <= number < len(axial_view(volume)):
        raise InputError("The place lies above or below the volume: it has no slice there.", "slice")
    return number


def absent_slices(volume: CTVolume) -> set[int]:
    """The slices of ``axial_view`` for which there is no image, or not a whole one."""
    axes, backwards = _order(volume)
    count = int(volume.size[axes[0]])
    if volume.absent and axes[0] != 2:  # every axial slice crosses the planes that are missing
        return set(range(count))
    return {count - 1 - k if backwards[0] else k for k in volume.absent}


def _order(volume: CTVolume) -> tuple[list[int], list[bool]]:
    """The array's axes (0 to 2: i, j, k) that run along S, P and L, and whether each runs backwards."""
    steep = np.abs(volume.direction)
    axes = [int(np.argmax(steep[2]))]
    rest = [axis for axis in range(3) if axis not in axes]
    axes += sorted(rest, key=lambda axis: steep[1, axis], reverse=True)
    return axes, [bool(volume.direction[lps, axis] < 0) for lps, axis in zip((2, 1, 0), axes, strict=True)]
