"""Window, standardization and the 5 x 5 montage."""

import numpy as np
import pytest
from MAEMCLib.errors import ModelError
from MAEMCLib.inputs.nodule import Preprocessing, denormalize, from_montage, normalize, to_montage


def test_tiles_are_slices_in_row_major_order():
    stack = np.random.default_rng(0).normal(size=(25, 50, 50))
    montage = to_montage(stack)
    assert montage.shape == (250, 250)
    for number in range(25):
        row, column = number // 5, number % 5
        tile = montage[row * 50 : row * 50 + 50, column * 50 : column * 50 + 50]
        np.testing.assert_array_equal(tile, stack[number])


def test_montage_and_back_for_batches():
    stack = np.random.default_rng(1).normal(size=(2, 3, 25, 50, 50))
    np.testing.assert_array_equal(from_montage(to_montage(stack)), stack)


def test_window_and_standardization_by_hand():
    settings = Preprocessing(mean=0.2, std=0.4)
    hu = np.array([-3000.0, -1200.0, -500.0, 200.0, 1000.0])
    expected = (np.array([0, 0, 0.5, 1, 1]) - 0.2) / 0.4
    np.testing.assert_allclose(normalize(hu, settings), expected, rtol=1e-6)
    np.testing.assert_allclose(
        denormalize(normalize(hu, settings), settings), [-1200, -1200, -500, 200, 200], atol=1e-3
    )


@pytest.mark.parametrize("values", [{"std": 0.0}, {"window_lower": 300.0}, {"mean": float("nan")}])
def test_contradictory_settings_are_refused(values):
    with pytest.raises(ModelError):
        Preprocessing(**values)
