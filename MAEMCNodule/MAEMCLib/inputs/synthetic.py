"""Cases drawn by whole-number arithmetic, alike on every machine: what models are tried on. Never stored.

Another drawing needs another name than ``reference_case.CASE``.
"""

from __future__ import annotations

import numpy as np

from .region import SIDE, SLICES, NoduleROI

_PICTURE = (200, 300)


def nodule(number: int = 0) -> NoduleROI:
    """A ball of tissue with a vessel in structured lung, in both planes; another number draws another radius."""
    i, j, k = np.meshgrid(*(2 * np.arange(n) - (n - 1) for n in (SIDE, SIDE, SLICES)), indexing="ij")  # half mm
    axial = _hu(*(axis.transpose(2, 1, 0) for axis in (i, j, k)), number)
    coronal = _hu(*(axis.transpose(2, 1, 0) for axis in (i, k, -j)), number)
    return NoduleROI(axial, coronal, (0.0, 0.0, 0.0), 1.0, 0.0)


def _hu(x: np.ndarray, y: np.ndarray, z: np.ndarray, number: int) -> np.ndarray:
    """HU at places in half mm, whole numbers all: -940 to -740 in lung, 0 to 60 in tissue."""
    texture = (x * x + 3 * y * y + 5 * z * z + 7 * x * y + 11 * y * z + 13 * z * x) % 41
    values = -940 + 5 * texture
    tissue = (x * x + y * y + z * z < (16 + 2 * number) ** 2) | ((x - 12) ** 2 + (z + 8) ** 2 < 16)
    return np.where(tissue, texture * 3 // 2, values).astype(np.float32)


def picture() -> np.ndarray:
    """(200, 300) in [0, 1]: a dark ellipse on structured gray."""
    row, column = np.meshgrid(*(np.arange(n) for n in _PICTURE), indexing="ij")
    texture = (row * row + 3 * column * column + 5 * row * column) % 61
    dark = 4 * (row - 90) ** 2 + (column - 160) ** 2 < 4000
    return (np.where(dark, 20 + texture // 2, 110 + texture).astype(np.float32)) / np.float32(255)
