"""Slabs of one patient laid over each other: where one shows another one's nodule.

Slabs keep no position in the scanner. Two that show the same slice of the same CT on the same pixels agree up to the
gain and offset of their attenuation, so that one correlation, over all whole shifts, finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from MAEMCLib.images.ct import CTVolume

AGREES = 0.95
"""Correlation from which on two slices are the same one: between 0.92 and 0.98 there is none in LIDC-IDRI."""
SMALLEST_MM2, SAME_PIXEL_MM, SIDE = 300.0, 1e-3, 192
STANDS_OUT = 7.0
"""Deviations by which the likeness at one shift exceeds that at all, before the shift is looked at exactly."""


@dataclass(frozen=True)
class Overlaid:
    """A slab with what is known of other nodules in it.

    marked: (slices, rows, columns) bool, voxels of any nodule that a reader marked, this slab's own and those of the
    slabs that lie over it. unchecked: whether another slab of the patient could not be compared (other pixels).
    """

    marked: np.ndarray
    overlapping: int
    unchecked: bool


def lay_over(volumes: Sequence[CTVolume], masks: Sequence[np.ndarray]) -> list[Overlaid]:
    """All slabs of one patient. masks: (slices, rows, columns), above 0 where any reader marked a nodule."""
    marked = [mask > 0 for mask in masks]
    own = [mask.copy() for mask in marked]
    overlapping, unchecked = [0] * len(volumes), [False] * len(volumes)
    spectra = [_spectra(volume) for volume in volumes] if len(volumes) > 1 else []
    for first in range(len(volumes)):
        for second in range(first + 1, len(volumes)):
            if np.abs(volumes[first].spacing[:2] - volumes[second].spacing[:2]).max() > SAME_PIXEL_MM:
                unchecked[first] = unchecked[second] = True
                continue
            found = _same_slices(volumes[first], volumes[second], spectra[first], spectra[second])
            overlapping[first] += bool(found)
            overlapping[second] += bool(found)
            for a, b, shift in found:
                _add(marked[first][a], own[second][b], shift)
                _add(marked[second][b], own[first][a], (-shift[0], -shift[1]))
    return [Overlaid(*found) for found in zip(marked, overlapping, unchecked, strict=True)]


def _spectra(volume: CTVolume) -> np.ndarray:
    """(slices, SIDE, SIDE / 2 + 1): the spectrum of each slice's edges."""
    from scipy.fft import rfft2

    return rfft2(np.stack([_edges(slice_) for slice_ in volume.array]), (SIDE, SIDE))


def _edges(hu: np.ndarray) -> np.ndarray:
    """HU of lung and soft tissue less their local mean: what is alike over many pixels is taken out."""
    from scipy.ndimage import uniform_filter

    clipped = np.clip(hu.astype(np.float32), -1000.0, 100.0)
    return clipped - uniform_filter(clipped, 9)


def _same_slices(
    one: CTVolume, other: CTVolume, of_one: np.ndarray, of_other: np.ndarray
) -> list[tuple[int, int, tuple[int, int]]]:
    """(slice of one, slice of the other, shift): pixel (r, c) of the other's slice is (r, c) + shift of the one's."""
    from scipy.fft import irfft2

    found = []
    smallest = SMALLEST_MM2 / float(np.prod(one.spacing[:2]))
    for a, spectrum in enumerate(of_one):
        alike = irfft2(spectrum[None] * np.conj(of_other), (SIDE, SIDE)).reshape(len(of_other), -1)
        peaks = alike.argmax(axis=1)
        outstanding = alike.max(axis=1) > STANDS_OUT * alike.std(axis=1)
        for b in np.flatnonzero(outstanding):
            shift = tuple(int((n + SIDE // 2) % SIDE - SIDE // 2) for n in divmod(int(peaks[b]), SIDE))
            if _correlation(one.array[a], other.array[b], shift, smallest) >= AGREES:
                found.append((a, int(b), shift))
    return found


def _common(shape: tuple[int, int], other: tuple[int, int], shift: tuple[int, int]) -> tuple[tuple, tuple] | None:
    """The part of both slices that they share, as slices of each; None where they share nothing."""
    parts = []
    for size, length, by in zip(shape, other, shift, strict=True):
        low, high = max(0, by), min(size, length + by)
        if high <= low:
            return None
        parts.append((slice(low, high), slice(low - by, high - by)))
    return tuple(part[0] for part in parts), tuple(part[1] for part in parts)


def _correlation(one: np.ndarray, other: np.ndarray, shift: tuple[int, int], smallest: float) -> float:
    """Of what both slices share; 0 where that is less than ``smallest`` pixels."""
    common = _common(one.shape, other.shape, shift)
    if common is None or (part := one[common[0]]).size < smallest:
        return 0.0
    first, second = _edges(part), _edges(other[common[1]])
    spread = float(first.std() * second.std())
    return float(((first - first.mean()) * (second - second.mean())).mean()) / spread if spread > 1.0 else 0.0


def _add(marked: np.ndarray, other: np.ndarray, shift: tuple[int, int]) -> None:
    common = _common(marked.shape, other.shape, shift)
    if common is not None:
        marked[common[0]] |= other[common[1]]
