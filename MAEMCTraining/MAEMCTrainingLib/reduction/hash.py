"""Difference hash: 64 bits that say where a thumbnail brightens from left to right, compared by Hamming distance.

HASH of the paper; with a threshold of 6 its best reduction. The bits equal those of ``dhash`` of the package ImageHash:
the thumbnail is Pillow's, computed for a whole slice in two matrix products instead of pixel by pixel. Constant slices
(air, padding) all have the hash 0, so that one of them stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .selection import Similarity

COLUMNS, ROWS = 9, 8
_LOBES = 3
_BITS = 22
"""Pillow resizes 8-bit pictures with weights in fixed point of so many bits, and rounds after each direction."""


@dataclass(frozen=True)
class DifferenceHash(Similarity):
    """HASH (paper, section 2.1). The threshold is a number of bits: slices that differ in at most so many are alike."""

    measure = "Hamming distance"
    is_distance = True
    range = (0.0, 64.0)
    default_threshold = 6.0
    whole_numbers = True
    cheap = True

    def describe(self, slices: Sequence[np.ndarray]) -> np.ndarray:
        """(slices,) uint64."""
        return np.array([difference_hash(pixels) for pixels in slices], dtype=np.uint64)

    def compare(self, described: np.ndarray, one: int, others: np.ndarray) -> np.ndarray:
        """(len(others),) number of bits that differ."""
        return np.bitwise_count(described[one] ^ described[others]).astype(np.float64)


def difference_hash(pixels: np.ndarray) -> np.uint64:
    """The hash of a picture, (rows, columns) uint8. Bit by bit in row-major order, the first the most significant: is
    the right neighbor of the thumbnail brighter?
    """
    small = thumbnail(pixels)
    return np.packbits(small[:, 1:] > small[:, :-1]).view(">u8")[0].astype(np.uint64)


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """(8, 9) uint8 of a picture (rows, columns) uint8, equal to Pillow's ``resize((9, 8), LANCZOS)``.

    Along the rows first, as Pillow up to 11 does always; Pillow 13 begins with the columns where a picture is more than
    about twice as tall as wide, which changes a rounding here and there, and ImageHash's bits with it. Double precision
    holds every sum of the fixed-point weights exactly, in whatever order they are added.
    """
    rows, columns = pixels.shape
    narrow = _rounded(pixels.astype(np.float64) @ _weights(columns, COLUMNS).T)
    return _rounded(_weights(rows, ROWS) @ narrow).astype(np.uint8)


def _rounded(sums: np.ndarray) -> np.ndarray:
    return np.clip(np.floor((sums + (1 << (_BITS - 1))) / (1 << _BITS)), 0, 255)


@lru_cache(maxsize=64)
def _weights(length: int, wanted: int) -> np.ndarray:
    """(wanted, length): how each pixel counts for each of the thumbnail's, a Lanczos window of three lobes that is
    widened by the reduction (antialiasing), in fixed point.
    """
    scale = length / wanted
    widened = max(scale, 1.0)
    weights = np.zeros((wanted, length))
    for place in range(wanted):
        center = (place + 0.5) * scale
        first = max(0, int(center - _LOBES * widened + 0.5))
        last = min(length, int(center + _LOBES * widened + 0.5))
        x = (np.arange(first, last) - center + 0.5) / widened
        window = np.where(np.abs(x) < _LOBES, np.sinc(x) * np.sinc(x / _LOBES), 0.0)
        fixed = window / window.sum() * (1 << _BITS)
        weights[place, first:last] = np.trunc(fixed + np.copysign(0.5, fixed))
    weights.setflags(write=False)
    return weights
