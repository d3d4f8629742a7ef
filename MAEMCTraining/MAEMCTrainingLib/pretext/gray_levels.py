"""Reconstruction errors in gray levels, as Table 6 of Zhao et al. 2025 gives them: MAE, MSE, PSNR and SSIM.

Gray levels are those of the window: 0 at its lower end, 255 at its upper one, clipped there. The table does not say
which pixels it counts: here the hidden ones alone, and the whole montage with the visible pixels as they are, which
flatters every row alike. Its PSNR is that of the mean MSE; the mean over cases of each one's is never lower.
"""

import numpy as np
from MAEMCLib.inputs.nodule import Preprocessing, denormalize, to_montage

from ..reduction.ssim import StructuralSimilarity

WHITE = 255.0
HIDDEN, WHOLE = "hidden pixels", "whole montages"
MEASURES = {"mae": "MAE", "mse": "MSE", "psnr": "PSNR, dB", "ssim": "SSIM"}
"""The windows of SSIM span hidden and visible pixels, so that it is of whole montages alone."""


def gray_levels(values: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Network units -> float64 gray levels 0 to 255, not rounded. Any shape."""
    width = preprocessing.window_upper - preprocessing.window_lower
    scaled = (denormalize(values, preprocessing).astype(np.float64) - preprocessing.window_lower) / width
    return np.clip(scaled, 0.0, 1.0) * WHITE


def gray_level_errors(target: np.ndarray, filled: np.ndarray, hidden: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """{HIDDEN or WHOLE: {measure: (cases,)}}; infinite PSNR where nothing differs.

    target, filled: (cases, 25, 50, 50) gray levels; hidden: the same shape, bool. What ``filled`` says of visible
    pixels is not looked at.
    """
    shown = np.where(hidden, filled, target)
    difference = shown - target
    axes = (1, 2, 3)
    found = {}
    for pixels, counted in ((HIDDEN, hidden.sum(axis=axes)), (WHOLE, np.prod(target.shape[1:]))):
        squares = np.square(difference).sum(axis=axes) / counted  # visible pixels do not differ
        found[pixels] = {
            "mae": np.abs(difference).sum(axis=axes) / counted,
            "mse": squares,
            "psnr": peak_signal_to_noise(squares),
        }
    pairs = zip(to_montage(target), to_montage(shown), strict=True)
    found[WHOLE]["ssim"] = np.array([_structural_similarity(one, other) for one, other in pairs])
    return found


def peak_signal_to_noise(mse: np.ndarray) -> np.ndarray:
    """10 log10(255^2 / MSE) in dB, of squared errors of gray levels."""
    with np.errstate(divide="ignore"):
        return 10 * np.log10(WHITE**2 / np.asarray(mse, dtype=np.float64))


def _structural_similarity(one: np.ndarray, other: np.ndarray) -> float:
    similarity = StructuralSimilarity()
    return float(similarity.compare(similarity.describe([one, other]), 0, np.array([1]))[0])
