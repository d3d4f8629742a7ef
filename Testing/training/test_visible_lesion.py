"""Masks that leave a part of each lesion visible: against the ranking that hides patches, over many draws."""

import numpy as np
import pytest
import torch
from MAEMCLib.errors import UsageError
from MAEMCLib.networks.masking import split_tokens
from MAEMCTrainingLib.data.kinds.lesion import keep_lesion_visible, lesion_patches, lesion_sizes, patches_to_show


def visible(noise, hidden):
    return set(split_tokens(torch.from_numpy(np.asarray(noise))[None], hidden)[0][0].tolist())


def disk(side, row, column, radius):
    rows, columns = np.mgrid[:side, :side]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def test_patches_of_a_lesion_are_those_with_a_pixel_of_it():
    mask = np.zeros((12, 12), bool)
    mask[3, 4] = mask[11, 11] = True
    expected = [any(mask[4 * (n // 3) + i, 4 * (n % 3) + j] for i in range(4) for j in range(4)) for n in range(9)]
    assert lesion_patches(mask, 4).tolist() == expected
    assert lesion_patches(mask.astype(np.uint8) * 255, 4).tolist() == expected


@pytest.mark.parametrize("share", [0.0, 0.2, 1 / 3, 0.5, 1.0])
def test_the_share_stays_visible_and_nothing_else_changes(share):
    draws = np.random.default_rng(0)
    changed = 0
    for _ in range(200):
        mask = disk(64, *draws.integers(8, 56, 2), draws.integers(2, 11))
        lesion = set(np.flatnonzero(lesion_patches(mask, 8)))
        noise = draws.random(64, dtype=np.float32)
        before = noise.copy()
        result = keep_lesion_visible(noise, mask, 8, 48, share)
        assert np.array_equal(noise, before) and result.dtype == np.float32
        assert result.min() >= 0 and result.max() < 1
        old, new = visible(noise, 48), visible(result, 48)
        wanted = patches_to_show(lesion_patches(mask, 8), share)
        assert wanted - 1 < share * len(lesion) <= wanted + 1e-6
        assert len(new) == 16
        assert len(new & lesion) == max(len(old & lesion), wanted)  # not more than needed
        assert len(old - new) == len(new - old) == max(0, wanted - len(old & lesion))
        assert not (old - new) & lesion and new - old <= lesion
        # The nearest change places: what was hidden last, and what was shown last.
        assert all(noise[there] > noise[left] for there in old - new for left in (old & new) - lesion)
        assert all(noise[there] < noise[left] for there in new - old for left in lesion - old - new)
        changed += not np.array_equal(result, noise)
        assert np.array_equal(result, keep_lesion_visible(noise, mask, 8, 48, share))
    assert (changed > 0) == (share > 0)


def test_every_patch_of_a_lesion_has_its_chance():
    mask = disk(64, 32, 32, 6)
    lesion, draws = lesion_patches(mask, 8), np.random.default_rng(1)
    counts = np.zeros(64)
    for _ in range(2000):
        counts[list(visible(keep_lesion_visible(draws.random(64), mask, 8, 60, 0.25), 60))] += 1
    assert lesion.sum() == 4
    assert counts[lesion].min() > 0.9 * counts[lesion].mean()
    assert counts[~lesion].min() > 0.5 * counts[~lesion].mean()


def test_equal_noise_is_ranked_by_place_and_mended_all_the_same():
    mask = np.zeros((8, 8), bool)
    mask[6:, 6:] = True  # the last patch, which equal noise hides first
    noise = np.zeros(16, np.float32)
    assert 15 not in visible(noise, 8)
    assert 15 in visible(keep_lesion_visible(noise, mask, 2, 8, 1.0), 8)


def test_no_lesion_leaves_the_noise():
    noise = np.random.default_rng(0).random(16)
    assert keep_lesion_visible(noise, np.zeros((8, 8), bool), 2, 12, 1.0) is noise


def test_a_third_is_not_lost_to_rounding():
    lesion = np.arange(64) < 3
    assert patches_to_show(lesion, 1 / 3) == 1
    assert patches_to_show(np.arange(64) < 10, 0.1) == 1
    assert patches_to_show(np.arange(64) < 10, 0.7) == 7


def test_what_cannot_be_is_refused():
    everything, noise = np.ones((8, 8), bool), np.arange(16) / 16
    with pytest.raises(UsageError, match=r"a share of 0\.5, 8 of them"):
        keep_lesion_visible(noise, everything, 2, 9, 0.5)
    assert len(visible(keep_lesion_visible(noise, everything, 2, 8, 0.5), 8)) == 8


def test_sizes_of_lesions_for_the_report():
    masks = [
        disk(64, 20, 20, 8),
        np.zeros((64, 64), bool),
        disk(64, 12, 12, 4) | disk(64, 50, 50, 10),
        np.ones((64, 64)),
    ]
    sizes = lesion_sizes(masks, 8, 38, 0.5)
    assert sizes.lesions == 4
    assert sizes.smallest_diameter == pytest.approx(1.0, rel=0.05)
    assert sizes.median_diameter == pytest.approx((2 + 2.5) / 2, rel=0.05)
    assert sizes.too_large == (3,)
    assert lesion_sizes([], 8, 38, 0.5).smallest_diameter is None
