"""Mask counts in exact arithmetic, masks without favorites, patches in the montage's order."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from MAEMCLib.errors import UsageError
from MAEMCLib.inputs.nodule import to_montage
from MAEMCLib.networks.masking import masked_count, split_tokens
from MAEMCLib.networks.vit import gather_tokens, patchify, unpatchify

PERCENTAGES = (20, 30, 40, 50, 60, 70, 75, 80, 90)


def test_the_nine_published_ratios_on_25_slices():
    hidden = [masked_count(25, percentage / 100) for percentage in PERCENTAGES]
    assert hidden == [5, 8, 10, 13, 15, 18, 19, 20, 23]


@pytest.mark.parametrize("tokens", [9, 16, 25, 49, 100, 196, 625])
@pytest.mark.parametrize("percentage", PERCENTAGES)
def test_counts_are_rounded_half_up_by_integer_arithmetic(tokens, percentage):
    expected = (2 * tokens * percentage + 100) // 200  # floor(n p / 100 + 1 / 2) in integers
    for ratio in (
        percentage / 100,
        np.float64(percentage) / 100,
        Fraction(percentage, 100),
        1 - (1 - percentage / 100),
    ):
        assert masked_count(tokens, ratio) == expected


@pytest.mark.parametrize("ratio", [0.1 + 0.2, 1 - 0.7, 0.9 / 3])  # three ways to miss 0.3 in binary
def test_rounding_noise_of_the_ratio_does_not_move_a_half(ratio):
    assert masked_count(5, ratio) == 2


@pytest.mark.parametrize("ratio", [0, 1, -0.1, 1.5, float("nan")])
def test_ratios_outside_the_open_interval_are_refused(ratio):
    with pytest.raises(UsageError):
        masked_count(25, ratio)


@pytest.mark.parametrize("ratio", [0.01, 0.99])
def test_masks_that_hide_nothing_or_everything_are_refused(ratio):
    with pytest.raises(UsageError, match="of 25 patches"):
        masked_count(25, ratio)


def test_split_keeps_the_smallest_noise_in_ascending_order():
    noise = torch.rand(64, 25, generator=torch.Generator().manual_seed(0))
    keep, hidden = split_tokens(noise, 13)
    assert keep.shape == (64, 12)
    assert hidden.shape == (64, 13)
    for row in range(64):
        order = sorted(range(25), key=lambda token, row=row: float(noise[row, token]))
        assert keep[row].tolist() == sorted(order[:12])
        assert hidden[row].tolist() == sorted(order[12:])


def test_every_patch_is_hidden_equally_often():
    noise = torch.rand(20_000, 25, generator=torch.Generator().manual_seed(1))
    _, hidden = split_tokens(noise, 13)
    share = torch.bincount(hidden.flatten(), minlength=25) / 20_000
    # 5 standard deviations of a binomial share around 13 / 25
    assert (share - 13 / 25).abs().max() < 5 * (0.52 * 0.48 / 20_000) ** 0.5


def test_ties_are_split_without_loss():
    keep, hidden = split_tokens(torch.zeros(2, 25), 13)
    assert sorted(keep[0].tolist() + hidden[0].tolist()) == list(range(25))


def test_patches_of_one_tile_are_the_slices_of_the_montage():
    stack = np.random.default_rng(0).normal(size=(3, 25, 50, 50)).astype(np.float32)
    images = torch.from_numpy(np.ascontiguousarray(to_montage(stack))).unsqueeze(1)
    assert np.array_equal(patchify(images, 50).numpy(), stack.reshape(3, 25, 2500))


@pytest.mark.parametrize("patch_size", [50, 25, 10])
def test_patchify_equals_a_loop_and_unpatchify_inverts_it(patch_size):
    images = torch.randn(2, 1, 250, 250)
    patches = patchify(images, patch_size)
    grid = 250 // patch_size
    for row in range(grid):
        for column in range(grid):
            top, left = row * patch_size, column * patch_size
            tile = images[:, 0, top : top + patch_size, left : left + patch_size]
            assert torch.equal(patches[:, row * grid + column], tile.reshape(2, -1))
    assert torch.equal(unpatchify(patches), images)


def test_gather_tokens_takes_each_sample_at_its_own_indices():
    tokens, indices = torch.randn(4, 9, 3), torch.randint(0, 9, (4, 5))
    expected = torch.stack([tokens[sample, indices[sample]] for sample in range(4)])
    assert torch.equal(gather_tokens(tokens, indices), expected)
