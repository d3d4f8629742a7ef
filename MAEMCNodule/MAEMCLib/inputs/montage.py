"""Windowed slices and the 5 x 5 montage that the network takes (Zhao et al. 2025, section 2.2)."""

from pathlib import Path

import numpy as np

from ..errors import InputError
from ..images.gray import crop_resized
from ..images.itk import native_path
from ..networks.configuration import TILES
from .region import SIDE, SLICES
from .settings import Preprocessing


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
    return crop_resized(montage, (len(montage) / 2, len(montage) / 2), len(montage), side)


def montage(
    stack: np.ndarray, preprocessing: Preprocessing, side: int = TILES * SIDE, observed: np.ndarray | None = None
) -> np.ndarray:
    """(25, 50, 50) HU -> (side, side) network input. observed: (25,) bool; the other slices become NaN, where the model
    skips what was not observed. Raises InputError for another shape or values not finite."""
    if stack.shape != (SLICES, SIDE, SIDE):
        raise InputError(f"A region has the shape {stack.shape}; {(SLICES, SIDE, SIDE)} is needed.", "shape")
    if not np.isfinite(stack).all():
        raise InputError("A region holds values that are not numbers (NaN or infinity).", "not-finite")
    values = normalize(stack, preprocessing)
    if observed is not None and preprocessing.skip_unobserved:
        values[~observed] = np.nan
    return resized(to_montage(values), side)


def save_montage(stack: np.ndarray, preprocessing: Preprocessing, path: Path) -> None:
    """Write a stack (25, 50, 50) as its 250 x 250 montage in the model's window, 8-bit gray PNG. Raises InputError."""
    import SimpleITK as sitk

    window = Preprocessing(preprocessing.window_lower, preprocessing.window_upper)  # [0, 1], not standardized
    gray = np.rint(normalize(to_montage(stack), window) * 255).astype(np.uint8)
    try:
        sitk.WriteImage(sitk.GetImageFromArray(gray), native_path(path))
    except RuntimeError as error:
        raise InputError(f"{path} cannot be written. Choose a folder that can be written.") from error
