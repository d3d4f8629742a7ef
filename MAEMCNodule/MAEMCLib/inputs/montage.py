"""Windowed slices and the 5 x 5 montage that the network takes (Zhao et al. 2025, section 2.2)."""

from __future__ import annotations

import numpy as np

from ..images.gray import look
from .region import SIDE, SLICES
from .settings import TILES, Preprocessing


def normalize(hu: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """HU -> window clipped to [0, 1] -> standardized by the training mean and deviation. Any shape, float32."""
    width = preprocessing.window_upper - preprocessing.window_lower
    scaled = np.clip((np.asarray(hu, np.float32) - preprocessing.window_lower) / width, 0.0, 1.0)
    return ((scaled - preprocessing.mean) / preprocessing.std).astype(np.float32)


def denormalize(values: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Inverse of ``normalize`` within the window: network units -> HU, not clipped. Any shape, float32."""
    width = preprocessing.window_upper - preprocessing.window_lower
    scaled = np.asarray(values, np.float32) * preprocessing.std + preprocessing.mean
    return (scaled * width + preprocessing.window_lower).astype(np.float32)


def to_montage(stack: np.ndarray) -> np.ndarray:
    """(..., 25, 50, 50) slices -> (..., 250, 250) montage, slices in row-major order."""
    lead = stack.shape[:-3]
    tiles = stack.reshape(*lead, TILES, TILES, SIDE, SIDE)
    return np.moveaxis(tiles, -3, -2).reshape(*lead, TILES * SIDE, TILES * SIDE)


def from_montage(montage: np.ndarray) -> np.ndarray:
    """(..., 250, 250) montage -> (..., 25, 50, 50) slices; inverse of ``to_montage``."""
    lead = montage.shape[:-2]
    tiles = montage.reshape(*lead, TILES, SIDE, TILES, SIDE)
    return np.moveaxis(tiles, -2, -3).reshape(*lead, SLICES, SIDE, SIDE)


def resized(montage: np.ndarray, side: int) -> np.ndarray:
    """(250, 250) -> (side, side), interpolated linearly, for a backbone that does not take 250 pixels."""
    if side == len(montage):
        return montage
    return look(montage, (len(montage) / 2, len(montage) / 2), len(montage), side)
