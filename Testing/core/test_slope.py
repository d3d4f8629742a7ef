"""How steep attenuation is: ramps whose slope is known, in voxels of any shape."""

import numpy as np
from MAEMCLib.measures.slope import slope

SPACING = np.array([0.7, 0.8, 2.5])
"""mm along columns, rows and slices."""


def test_a_ramp_has_its_slope_in_any_direction():
    k, j, i = np.meshgrid(*[np.arange(14.0)] * 3, indexing="ij")
    hu = 30.0 * SPACING[0] * i - 40.0 * SPACING[1] * j + 120.0 * SPACING[2] * k
    np.testing.assert_allclose(slope(hu, SPACING)[4:-4, 4:-4, 4:-4], 130.0, rtol=1e-3)  # 30, 40 and 120 HU per mm


def test_a_soft_edge_has_the_slope_of_the_convolution():
    """A step under a Gaussian of 1 mm, computed point by point."""
    x = (np.arange(61) - 30) * 0.2
    hu = np.broadcast_to(np.where(x < 0, -850.0, 50.0), (1, 1, 61))
    expected = 900.0 * np.exp(-((x + 0.1) ** 2) / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(slope(hu, np.array([0.2, 1.0, 1.0]))[0, 0, 15:-15], expected[15:-15], atol=6)


def test_noise_of_a_scan_is_flat():
    hu = np.random.default_rng(0).normal(0.0, 40.0, (20, 40, 40))
    assert slope(hu, np.array([0.7, 0.7, 1.25])).max() < 30.0
