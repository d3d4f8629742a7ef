"""Structural similarity: means, deviations and covariance of two slices under a Gaussian window.

Wang, Bovik, Sheikh, Simoncelli, IEEE Transactions on Image Processing 13(4), 2004, equation 13, with that paper's
constants: a window of 11 x 11 with a deviation of 1.5 pixels, K1 = 0.01, K2 = 0.03; mean over the places where the
window lies in the slice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from MAEMCLib.errors import InputError

from .selection import Similarity

DEVIATION = 1.5
RADIUS = 5
C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2
"""C1 and C2 are above 0, so that constant slices have a finite similarity."""


Described = tuple[Sequence[np.ndarray], list[np.ndarray], list[np.ndarray]]
"""Slices, (rows, columns) uint8 each; means and variances of their windows, (rows - 10, columns - 10) float32 each."""


@dataclass(frozen=True)
class StructuralSimilarity(Similarity):
    """SSIM (paper, section 2.1): 1 for equal slices."""

    measure = "structural similarity"
    range = (-1.0, 1.0)

    def describe(self, slices: Sequence[np.ndarray]) -> Described:
        """Means and variances of each slice. Raises InputError for slices that are smaller than the window."""
        rows, columns = slices[0].shape
        if min(rows, columns) < 2 * RADIUS + 1:
            raise InputError(
                f"its slices have {columns} x {rows} pixels; the window of --method ssim takes {2 * RADIUS + 1}",
                "small",
            )
        means, variances = [], []
        for pixels in slices:
            x = pixels.astype(np.float32)
            mean = _window(x)
            means.append(mean)
            variances.append(_window(x * x) - mean * mean)
        return slices, means, variances

    def compare(self, described: Described, one: int, others: np.ndarray) -> np.ndarray:
        """(len(others),) mean structural similarity."""
        slices, means, variances = described
        x, mean, variance = slices[one].astype(np.float32), means[one], variances[one]
        values = np.empty(len(others))
        for place, other in enumerate(others):
            mean_y, variance_y = means[other], variances[other]
            product = mean * mean_y
            covariance = _window(x * slices[other]) - product
            luminance = (2 * product + C1) / (mean * mean + mean_y * mean_y + C1)
            structure = (2 * covariance + C2) / (variance + variance_y + C2)
            values[place] = (luminance * structure).mean(dtype=np.float64)
        return np.clip(values, *self.range)  # equal slices come out above 1 by float32's rounding


def _window(pixels: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(pixels, DEVIATION, radius=RADIUS)[RADIUS:-RADIUS, RADIUS:-RADIUS]
