"""Axial slices of a CT as 8-bit images: those of ``CTVolume.oriented``, one numbering however the volume is stored.

Leaving out slices, training and scoring all take a slice of a volume from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from .ct import WINDOW_HU, CTVolume, check_ct

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm")


def is_volume(image: Path) -> bool:
    """Whether the image of a slice's row is the whole volume and not a picture of the slice."""
    return image.is_dir() or image.suffix.lower() not in PICTURE_SUFFIXES


def axial_slices(volume: CTVolume) -> np.ndarray:
    """(slices, rows, columns) uint8, slices towards S, rows towards P, columns towards L: HU windowed to 0 to 255."""
    stack = volume.oriented.array
    gray = np.empty(stack.shape, np.uint8)
    for number, hu in enumerate(stack):  # one at a time: a CT in float32 would take four times its memory
        gray[number] = windowed(hu)
    return gray


def windowed(hu: np.ndarray) -> np.ndarray:
    """HU -> uint8, the window [-1200, 200] HU as 0 to 255; what is not finite is at the window's ends."""
    low, high = WINDOW_HU
    inside = np.nan_to_num(np.clip(hu.astype(np.float32), low, high), nan=low)
    return np.rint((inside - low) * (255 / (high - low))).astype(np.uint8)


def slice_through(volume: CTVolume, point_lps: Sequence[float]) -> int:
    """The number of the axial slice that a point (LPS mm) lies in. Raises InputError where it lies in none."""
    number = round(float(volume.oriented.to_index(point_lps)[2]))
    if not 0 <= number < volume.oriented.size[2]:
        raise InputError("The place lies above or below the volume: it has no slice there.", "slice")
    return number


def axial_slice(volume: CTVolume, number_text: str | int) -> np.ndarray:
    """(rows, columns) uint8 of one axial slice, counted from 0, the lowest, towards S.

    Raises InputError: no CT, a number that is none of the volume's slices.
    """
    check_ct(volume)
    stack = volume.oriented.array
    try:
        number = int(number_text)
    except ValueError:
        raise InputError(f"The slice_index '{number_text}' is not a whole number.", "slice", [number_text]) from None
    if not 0 <= number < len(stack):
        raise InputError(f"The slice {number} is not in a volume of {len(stack)} slices. Correct slice_index.", "slice")
    if number in volume.oriented.absent:
        raise InputError(f"The volume has no image of the slice {number}. Transfer the series again.", "slice")
    return windowed(stack[number])
