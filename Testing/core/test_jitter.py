"""Regions 2 mm beside a point are those that a click there gives, and the range over them is told."""

import numpy as np
import pytest
from MAEMCLib.errors import InputError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.inputs.jitter import JITTER_MM, SHIFTS, Margin, click_finding, cut_margin, jittered, margin_steps
from MAEMCLib.inputs.region import PLANES, cut_roi


def textured(slices=70, spacing=(0.8, 0.8, 1.1)) -> CTVolume:
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(1).normal(0.0, 1.0, (slices, 96, 96))
    array = np.clip(-700.0 + 900.0 * gaussian_filter(noise, 1.5) / 0.1, -1000, 400).astype(np.float32)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -np.array(spacing) * (np.array(array.shape[::-1]) - 1) / 2
    return CTVolume(array, affine)


@pytest.mark.parametrize("step", [1.0, 2.0, 0.5])
def test_each_region_is_that_of_a_click_beside_the_point(step):
    volume, point = textured(), np.array([1.3, -2.2, 0.7])
    found = jittered(cut_margin(volume, point, step), step)
    assert len(found) == len(SHIFTS) == 6
    for shift, region in zip(SHIFTS, found, strict=True):
        clicked = cut_roi(volume, point + JITTER_MM * np.array(shift), step)
        for plane in PLANES:
            assert np.abs(getattr(region, plane) - getattr(clicked, plane)).max() <= 0.51, (shift, plane)
            assert np.array_equal(region.observed[plane], clicked.observed[plane])


def test_steps_come_nearest_to_two_millimeters():
    assert [margin_steps(step) for step in (0.3, 0.5, 1.0, 1.5, 2.0, 5.0)] == [7, 4, 2, 1, 1, 1]


def test_places_beyond_the_slices_are_left_out():
    """A slab of one slice moves in the plane alone; one that ends at the point moves to one side."""
    volume = textured()
    middle = len(volume.array) // 2
    affine = volume.affine.copy()
    affine[:3, 3] = volume.to_lps(np.array([0, 0, middle]))
    point = (0.0, 0.0, affine[2, 3])
    one = CTVolume(volume.array[middle : middle + 1], affine)
    assert len(jittered(cut_margin(one, point), 1.0)) == 4
    assert len(jittered(cut_margin(volume, (0.0, 0.0, 0.0)), 1.0)) == 6


def test_a_gap_in_the_series_spoils_no_score():
    volume = textured()
    whole = CTVolume(volume.array, volume.affine, absent=(len(volume.array) // 2 + 13,))
    assert cut_margin(whole, (0.0, 0.0, 0.0)) is None


def test_a_margin_goes_to_a_worker_and_back():
    margin = cut_margin(textured(), (0.0, 0.0, 0.0))
    back = Margin.of(margin.arrays())
    assert back.steps == margin.steps
    for first, second in zip(jittered(back, 1.0), jittered(margin, 1.0), strict=True):
        assert np.array_equal(first.axial, second.axial) and np.array_equal(first.coronal, second.coronal)
    arrays = margin.arrays()
    for wrong in ({}, arrays | {"axial": arrays["axial"][1:]}, arrays | {"observed": arrays["observed"][:, :25]}):
        with pytest.raises(InputError, match="A margin has"):
            Margin.of(wrong)


@pytest.mark.parametrize(
    ("low", "high", "code"),
    [(0.1, 0.2, None), (0.35, 0.45, "class-by-click"), (0.41, 0.6, None), (0.5, 0.9, "score-by-click")],
)
def test_one_line_says_what_depends_on_the_click(low, high, code):
    found = click_finding(low, high, 0.41)
    assert (found and found.code) == code and (found is None or found.color == "amber")
