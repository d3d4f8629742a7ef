"""Linear CKA against its slow definitions, and the layers that it is taken of."""

import itertools

import numpy as np
import pytest
import torch
from MAEMCLib.errors import InputError
from MAEMCLib.networks.configuration import BACKBONES, BackboneConfiguration, EncoderConfiguration
from MAEMCLib.networks.vit import build_encoder
from MAEMCTrainingLib.network_comparison.cka import minibatch_cka, u_centered
from MAEMCTrainingLib.network_comparison.layers import gram, layer_grams, layer_names, layers

DRAWS = np.random.default_rng(3)


def drawn(cases, width):
    return DRAWS.normal(size=(cases, width))


def linear(values):
    return values @ values.T


def cka(first, second, size=None):
    """Of two networks of one layer each, in minibatches of the named size."""
    size = size or len(first)
    parts = [slice(start, start + size) for start in range(0, len(first), size)]
    return minibatch_cka((linear(first[part])[None], linear(second[part])[None]) for part in parts)[0, 0]


def biased_cka(first, second):
    """The textbook's: Gram matrices centered by H = I - 11'/n, tr(KHLH)/(n - 1)^2."""
    n = len(first)
    center = np.eye(n) - np.ones((n, n)) / n

    def hsic(one, two):
        return np.trace(linear(one) @ center @ linear(two) @ center) / (n - 1) ** 2

    return hsic(first, second) / np.sqrt(hsic(first, first) * hsic(second, second))


def unbiased_hsic(gram, other):
    """What ``minibatch_cka`` sums up, of two Gram matrices."""
    return float((u_centered(gram) * u_centered(other)).sum() / (len(gram) * (len(gram) - 3)))


def test_unbiased_hsic_is_the_mean_over_all_quadruples():
    """Song et al. 2012, equation 4: K_st (L_st + L_uv - 2 L_su) over all ordered quadruples of different cases."""
    one, two = linear(drawn(7, 3) + 2), linear(drawn(7, 2) - 1)
    terms = [one[s, t] * (two[s, t] + two[u, v] - 2 * two[s, u]) for s, t, u, v in itertools.permutations(range(7), 4)]
    assert unbiased_hsic(one, two) == pytest.approx(np.mean(terms), rel=1e-10)


def test_unbiased_hsic_is_songs_closed_form():
    """Song et al. 2012, equation 5."""
    n = 12
    first, second = drawn(n, 4), drawn(n, 6)
    one, two = (linear(values) * (1 - np.eye(n)) for values in (first, second))
    closed = np.trace(one @ two) + one.sum() * two.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ two).sum()
    assert unbiased_hsic(linear(first), linear(second)) == pytest.approx(closed / (n * (n - 3)), rel=1e-10)


def test_a_centered_matrix_sums_to_nothing_off_its_diagonal():
    centered = u_centered(linear(drawn(9, 4) + 5))
    np.testing.assert_allclose(centered.sum(axis=0), 0, atol=1e-9)
    assert (np.diag(centered) == 0).all()


def test_of_many_cases_it_is_the_textbooks_and_of_few_the_textbook_is_too_high():
    shared = drawn(500, 4)
    first, second = np.hstack([shared, drawn(500, 2)]), np.hstack([shared, drawn(500, 3)])
    assert cka(first, second) == pytest.approx(biased_cka(first, second), abs=0.01)
    # Independent, and more features than cases: the biased estimate calls them alike, the unbiased one does not.
    first, second = drawn(30, 2000), drawn(30, 2000)
    assert biased_cka(first, second) > 0.9 and abs(cka(first, second)) < 0.1


def test_the_textbooks_gram_matrices_give_kornblith_s_features():
    """The slow formula itself: of centered features CKA is |Y'X|^2 / (|X'X| |Y'Y|) (Kornblith et al. 2019)."""
    first, second = drawn(20, 5), drawn(20, 3)
    one, two = first - first.mean(axis=0), second - second.mean(axis=0)
    norm = np.linalg.norm
    expected = norm(two.T @ one) ** 2 / (norm(one.T @ one) * norm(two.T @ two))
    assert biased_cka(first, second) == pytest.approx(expected)


def test_turns_shifts_and_one_scale_change_nothing_and_other_scales_do():
    values, other = drawn(40, 6), drawn(40, 6)
    other[:, :3] += values[:, :3]
    turn = np.linalg.qr(drawn(6, 6))[0]
    value = cka(values, other)
    assert 0.1 < value < 0.9
    assert cka(values @ turn * 7 + 3, other) == pytest.approx(value, abs=1e-9)
    assert cka(values, values @ turn * 0.01) == pytest.approx(1)
    assert cka(values * np.array([1, 1, 1, 9, 9, 9]), other) != pytest.approx(value, abs=0.05)


def test_minibatches_give_about_what_all_cases_together_give():
    shared = drawn(1200, 5)
    first, second = np.hstack([shared, drawn(1200, 5)]), np.hstack([shared, drawn(1200, 5)])
    whole = cka(first, second)
    assert cka(first, second, size=20) == pytest.approx(whole, abs=0.02)
    assert abs(np.mean([biased_cka(first[s : s + 20], second[s : s + 20]) for s in range(0, 1200, 20)]) - whole) > 0.05


def test_every_layer_with_every_layer():
    first, second = [drawn(16, 3) for _ in range(2)], [drawn(16, 4) for _ in range(3)]
    values = minibatch_cka([(np.stack([linear(v) for v in first]), np.stack([linear(v) for v in second]))])
    expected = [[cka(one, two) for two in second] for one in first]
    np.testing.assert_allclose(values, expected)


def test_a_layer_that_says_the_same_of_all_has_no_value():
    draws = torch.Generator().manual_seed(1)
    same, other = torch.randn(1, 30, 4, generator=draws).expand(7, -1, -1), torch.randn(7, 5, generator=draws)
    assert (same - same.mean(dim=0)).abs().max() > 0  # by rounding
    values = minibatch_cka([(np.stack([gram(same), gram(other)]), np.stack([gram(other)]))])
    assert np.isnan(values[0, 0]) and values[1, 0] == pytest.approx(1)


def test_three_cases_are_too_few():
    with pytest.raises(InputError, match="at least 4 cases"):
        u_centered(np.eye(3))


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_layers_of_every_backbone(name):
    side = BACKBONES[name].nearest_side(64)
    encoder = build_encoder(BackboneConfiguration(name, side)).eval()
    images = torch.randn(4, 1, side, side, generator=torch.Generator().manual_seed(2))
    grams, features = layer_grams(encoder, images)
    assert grams.shape == (len(layer_names(encoder)), 4, 4) and len(grams) >= 5
    assert np.isfinite(grams).all() and (np.trace(grams, axis1=1, axis2=2) > 0).all()
    with torch.no_grad():
        np.testing.assert_allclose(features, encoder.features(images).numpy(), rtol=1e-6)
    assert not any(module._forward_hooks for module in encoder.modules())


def test_grams_are_of_the_whole_activations_of_each_block():
    encoder = build_encoder(EncoderConfiguration(image_size=32, patch_size=8, width=16, depth=3, heads=2)).eval()
    assert list(layers(encoder)) == ["block 1", "block 2", "block 3"]
    images = torch.randn(5, 1, 32, 32, generator=torch.Generator().manual_seed(4))
    grams, features = layer_grams(encoder, images)
    with torch.no_grad():
        tokens = encoder.embed(images)[0]
        steps = [images.flatten(1)]
        for block in encoder.blocks:
            tokens = block(tokens)
            steps.append(tokens.flatten(1))
        steps.append(encoder.norm(tokens)[:, 0])
    for found, values in zip(grams, steps, strict=True):
        values = values.double().numpy()
        np.testing.assert_allclose(found, linear(values - values.mean(axis=0)), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(features, steps[-1].numpy(), rtol=1e-5)
