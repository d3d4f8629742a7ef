"""Shifts, turns and flips are exact, and every draw depends on what it is for alone."""

import itertools

import numpy as np
import pytest
from MAEMCLib.errors import UsageError
from MAEMCLib.inputs.nodule import Preprocessing, from_montage
from MAEMCTrainingLib.data.kinds.montage_views import MARGIN, PADDING, View, crop, draw_view, montage_pair, paper_view
from MAEMCTrainingLib.engine.configuration import PAPER_VIEWS, Augmentation
from MAEMCTrainingLib.engine.rng import generator


@pytest.fixture
def stacks():
    return np.random.default_rng(0).integers(-1200, 400, size=(2, 35, 60, 60)).astype(np.int16)


def slow_crop(stacks, plane, view):
    """Voxel by voxel: where in the stored stack does each output sample lie?"""
    left, posterior, superior = view.shift_lps
    across, rows = (superior, posterior) if plane == 0 else (posterior, -superior)
    turns, flip = view.axial if plane == 0 else view.coronal
    result = np.zeros((25, 50, 50), np.float32)
    for slice_, row, column in itertools.product(range(25), range(50), range(50)):
        r, c = row, column
        if flip:
            c = 49 - c
        for _ in range(turns):  # undo one counterclockwise quarter turn
            r, c = c, 49 - r
        result[slice_, row, column] = stacks[plane][slice_ + MARGIN + across, r + MARGIN + rows, c + MARGIN + left]
    return result


@pytest.mark.parametrize(
    "view",
    [
        View(),
        View((5, -5, 3), (1, False), (2, True)),
        View((-5, 2, -5), (3, True), (1, True)),
        View((0, 0, 0), (0, True), (3, False)),
    ],
)
@pytest.mark.parametrize("plane", [0, 1])
def test_crop_against_a_loop(stacks, view, plane):
    hu, outside = crop(stacks, plane, view)
    assert outside == 0
    np.testing.assert_array_equal(hu, slow_crop(stacks, plane, view))


def test_both_planes_see_the_same_shift():
    """A bright voxel at one place of the patient is found where the shifted geometry says, in both planes."""
    stacks = np.full((2, 35, 60, 60), -800, np.int16)
    # A voxel one step to the left, two posterior, three superior of the sample (0.5, 0.5, 0) from the center.
    stacks[0, 17 + 3, 30 + 2, 30 + 1] = 300
    stacks[1, 17 + 2, 29 - 3, 30 + 1] = 300
    view = View((1, 2, 3))
    axial, coronal = crop(stacks, 0, view)[0], crop(stacks, 1, view)[0]
    assert np.argwhere(axial == 300).tolist() == [[12, 25, 25]]
    assert np.argwhere(coronal == 300).tolist() == [[12, 24, 25]]


def test_the_paper_has_forty_different_views():
    views = {paper_view(number) for number in range(PAPER_VIEWS)}
    assert len(views) == 40
    assert {view.shift_lps for view in views} == {(0, 0, 0), (5, 0, 0), (-5, 0, 0), (0, 5, 0), (0, -5, 0)}
    assert all(view.axial == view.coronal for view in views)
    assert {view.axial for view in views} == {(t, f) for t in range(4) for f in (False, True)}
    assert draw_view(Augmentation("paper"), 1, 0, 3, 7, 39) == paper_view(39)
    assert draw_view(Augmentation("none"), 1, 0, 3, 7) == View()


def test_online_draws_cover_what_they_should():
    views = [draw_view(Augmentation(), 1, 0, 0, sample) for sample in range(2000)]
    shifts = np.array([view.shift_lps for view in views])
    assert shifts.min(axis=0).tolist() == [-5, -5, -5] and shifts.max(axis=0).tolist() == [5, 5, 5]
    for plane in ("axial", "coronal"):
        counts = [sum(getattr(v, plane) == (t, f) for v in views) for t in range(4) for f in (False, True)]
        assert min(counts) > 180  # 250 expected, deviation 15
    # The planes are drawn independently: the same operation in one of eight.
    assert sum(v.axial == v.coronal for v in views) == pytest.approx(250, abs=60)
    steps = np.array([draw_view(Augmentation(shift_mm=5), 2, 0, 0, s).shift_lps for s in range(200)])
    assert set(np.unique(steps[:, 1:])) == {-4, -2, 0, 2, 4} and 5 in steps[:, 0]
    still = Augmentation(shift_mm=0, rotate=False, flip=False)
    assert all(draw_view(still, 1, 0, 0, s) == View() for s in range(50))


def test_draws_depend_on_seed_purpose_epoch_and_sample_only():
    def numbers(*key):
        return generator(*key).random(4).tolist()

    keys = [(0, "mask", 0, 0), (1, "mask", 0, 0), (0, "view", 0, 0), (0, "mask", 1, 0), (0, "mask", 0, 1)]
    assert len({tuple(numbers(*key)) for key in keys}) == 5
    numbers(0, "other", 9, 9)  # drawing for something else in between changes nothing
    assert numbers(*keys[0]) == numbers(*keys[0])
    # No two streams overlap: the 64-bit counter words of epoch and sample are not those that count draws.
    first, second = generator(0, "mask", 0, 0).random(5000), generator(0, "mask", 0, 1).random(5000)
    assert not set(first.tolist()) & set(second.tolist())


def test_padding_is_counted_and_looks_like_air(stacks):
    stacks[:, :, :, :MARGIN] = PADDING  # the volume ends at the un-shifted region's right border
    assert crop(stacks, 0, View())[1] == 0
    hu, outside = crop(stacks, 0, View((-5, 0, 0)))
    assert outside == pytest.approx(0.1)
    assert (hu[:, :, :5] == -1200).all() and hu.min() == -1200
    pair, outside = montage_pair(stacks, View((-2, 0, 0), coronal=(1, False)), Preprocessing())
    assert outside == pytest.approx(2 / 50)
    assert pair.shape == (2, 250, 250) and pair.dtype == np.float32


def test_montages_are_normalized_and_ordered(stacks):
    preprocessing = Preprocessing(mean=0.4, std=0.2)
    pair, _ = montage_pair(stacks, View(), preprocessing)
    window = np.clip((crop(stacks, 1, View())[0] + 1200) / 1400, 0, 1)
    np.testing.assert_allclose(from_montage(pair[1]), (window - 0.4) / 0.2, atol=1e-5)


def test_a_shift_beyond_the_margin_is_refused():
    with pytest.raises(UsageError, match="margin of 5 mm"):
        Augmentation(shift_mm=6)
