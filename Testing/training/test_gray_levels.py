"""Reconstruction errors in gray levels, against loops over pixels and explicit windows."""

import math

import numpy as np
import pytest
from MAEMCLib.inputs.nodule import Preprocessing, normalize, to_montage
from MAEMCTrainingLib.pretext.gray_levels import HIDDEN, WHOLE, gray_level_errors, gray_levels, peak_signal_to_noise

PREPROCESSING = Preprocessing(mean=0.3, std=0.2)


def test_gray_levels_are_those_of_the_window():
    hu = np.array([-2000.0, -1200.0, -500.0, 200.0, 3000.0])
    levels = gray_levels(normalize(hu, PREPROCESSING), PREPROCESSING)
    np.testing.assert_allclose(levels, [0, 0, 127.5, 255, 255], atol=1e-3)
    assert gray_levels(np.array([-50.0, 50.0]), PREPROCESSING).tolist() == [0, 255]  # what a network may say


def windowed_similarity(one, other):
    """Equation 13 of Wang et al. 2004, every window cut out."""
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights = np.outer(line, line) / np.outer(line, line).sum()
    windows = [np.lib.stride_tricks.sliding_window_view(image, (11, 11)) for image in (one, other)]
    x, y = ((window * weights).sum(axis=(2, 3)) for window in windows)
    xx, yy, xy = (
        (a * b * weights).sum(axis=(2, 3))
        for a, b in ((windows[0], windows[0]), (windows[1], windows[1]), (windows[0], windows[1]))
    )
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return (
        ((2 * x * y + c1) * (2 * (xy - x * y) + c2)) / ((x * x + y * y + c1) * (xx - x * x + yy - y * y + c2))
    ).mean()


def test_errors_equal_loops_over_pixels():
    draws = np.random.default_rng(0)
    target = np.clip(np.cumsum(draws.normal(0, 9, (2, 25, 50, 50)), axis=-1) + 120, 0, 255)
    filled = np.clip(target + draws.normal(0, 20, target.shape), 0, 255)
    hidden = np.broadcast_to(draws.random((2, 25, 1, 1)) < 0.5, target.shape).copy()
    found = gray_level_errors(target, filled, hidden)
    for case in range(2):
        absolute, squares, count = 0.0, 0.0, 0
        for place in np.argwhere(hidden[case]):
            difference = filled[case][tuple(place)] - target[case][tuple(place)]
            absolute, squares, count = absolute + abs(difference), squares + difference**2, count + 1
        assert found[HIDDEN]["mae"][case] == pytest.approx(absolute / count)
        assert found[HIDDEN]["mse"][case] == pytest.approx(squares / count)
        assert found[HIDDEN]["psnr"][case] == pytest.approx(20 * math.log10(255) - 10 * math.log10(squares / count))
        assert found[WHOLE]["mae"][case] == pytest.approx(absolute / 62500)
        assert found[WHOLE]["mse"][case] == pytest.approx(squares / 62500)
        shown = np.where(hidden[case], filled[case], target[case])
        expected = windowed_similarity(to_montage(target[case]), to_montage(shown))
        assert found[WHOLE]["ssim"][case] == pytest.approx(expected, abs=1e-4)
    assert "ssim" not in found[HIDDEN]


def test_the_published_table_has_the_psnr_of_its_mean_error():
    """Zhao et al. 2025, Table 6: MSE and PSNR of both methods and planes."""
    for mse, psnr in ((505.02, 21.09), (327.91, 22.97), (628.21, 20.15), (250.39, 24.14)):
        assert float(peak_signal_to_noise(mse)) == pytest.approx(psnr, abs=0.01)


def test_a_perfect_filling():
    target = np.full((1, 25, 50, 50), 100.0)
    found = gray_level_errors(target, target.copy(), np.ones(target.shape, bool))
    assert found[WHOLE]["mse"].tolist() == [0.0] and np.isinf(found[WHOLE]["psnr"]).all()
    assert found[WHOLE]["ssim"] == pytest.approx([1.0])
