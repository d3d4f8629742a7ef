"""Windowed slices and the 5 x 5 montage that the network takes (Zhao et al. 2025, section 2.2)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ..errors import ModelError
from .region import SIDE, SLICES

TILES = 5
"""Tiles along each side of the montage: 25 slices in row-major order."""
LOWEST_HU, HIGHEST_HU = -2000, 4000
NARROWEST_HU, WIDEST_HU = 100, 5000
SLICE_STEPS_MM = (0.3, 5.0)
SMALLEST_STD = 1e-3


@dataclass(frozen=True)
class Preprocessing:
    """How HU become network input; stored with each model.

    window_lower, window_upper: HU, by default a width of 1400 about -500 (Zhao et al. 2025).
    mean, std: of the training montages after scaling the window to [0, 1].
    """

    window_lower: float = -1200.0
    window_upper: float = 200.0
    mean: float = 0.0
    std: float = 1.0
    slice_step_mm: float = 1.0

    def __post_init__(self) -> None:
        values = list(asdict(self).values())
        if not all(isinstance(v, int | float) and np.isfinite(v) for v in values):
            raise ModelError(f"The preprocessing settings are not all finite numbers: {asdict(self)}.")
        if self.window_upper <= self.window_lower or self.std <= 0 or self.slice_step_mm <= 0:
            raise ModelError(f"The preprocessing settings contradict themselves: {asdict(self)}.")
        inside = self.window_lower >= LOWEST_HU and self.window_upper <= HIGHEST_HU
        if not inside or not NARROWEST_HU <= self.window_upper - self.window_lower <= WIDEST_HU:
            raise ModelError(
                f"No CT is seen through a window of {self.window_lower:g} to {self.window_upper:g} HU: it has to be "
                f"{NARROWEST_HU} to {WIDEST_HU} HU wide and lie within {LOWEST_HU} to {HIGHEST_HU} HU.",
                "window",
            )
        if not SLICE_STEPS_MM[0] <= self.slice_step_mm <= SLICE_STEPS_MM[1]:
            raise ModelError(
                f"Slices {self.slice_step_mm:g} mm apart are none of a lung: {SLICE_STEPS_MM[0]} to "
                f"{SLICE_STEPS_MM[1]:g} mm are possible.",
                "slice-step",
            )
        check_standardization(self.mean, self.std)


def check_standardization(mean: float, std: float) -> None:
    """Raises ModelError for a mean and a deviation that gray values in [0, 1] cannot have."""
    if not (0 <= mean <= 1 and SMALLEST_STD <= std <= 1):
        raise ModelError(
            f"Gray values between 0 and 1 have no mean of {mean:g} and deviation of {std:g}; the preprocessing "
            "settings are wrong.",
            "standardization",
        )


def normalise(hu: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """HU -> window clipped to [0, 1] -> standardized by the training mean and deviation. Any shape, float32."""
    width = preprocessing.window_upper - preprocessing.window_lower
    scaled = np.clip((np.asarray(hu, np.float32) - preprocessing.window_lower) / width, 0.0, 1.0)
    return ((scaled - preprocessing.mean) / preprocessing.std).astype(np.float32)


def denormalise(values: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Inverse of ``normalise`` within the window: network units -> HU, not clipped. Any shape, float32."""
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
    from ..images.gray import look

    return look(montage, (len(montage) / 2, len(montage) / 2), len(montage), side)
