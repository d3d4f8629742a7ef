"""Difference hash: 64 bits that say where a thumbnail brightens from left to right, compared by Hamming distance.

HASH of the paper; with a threshold of 6 its best reduction. The bits equal those of ``dhash`` of the package ImageHash.
Constant slices (air, padding) all have the hash 0, so that one of them stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .selection import Similarity

COLUMNS, ROWS = 9, 8


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
    """The hash of an image, (rows, columns) uint8. Bit by bit in row-major order, the first the most significant: is
    the right neighbor of the thumbnail brighter?
    """
    small = thumbnail(pixels)
    return np.packbits(small[:, 1:] > small[:, :-1]).view(">u8")[0].astype(np.uint64)


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """(8, 9) uint8 of an image (rows, columns) uint8: Pillow's ``resize((9, 8), LANCZOS)``.

    Along the rows first, as Pillow up to 11 does always; Pillow 13 begins with the columns where an image is more than
    about twice as tall as wide, which changes a rounding here and there, and ImageHash's bits with it.
    """
    from PIL import Image  # not in Slicer, whose panel lists the methods

    narrow = Image.fromarray(pixels).resize((COLUMNS, len(pixels)), Image.Resampling.LANCZOS)
    return np.asarray(narrow.resize((COLUMNS, ROWS), Image.Resampling.LANCZOS))
