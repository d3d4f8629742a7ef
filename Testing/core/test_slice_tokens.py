"""Slices that were not observed make no token; convolutional tokens of whole slices; a fixed few slices."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from MAEMCLib.errors import ModelError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import read_volume
from MAEMCLib.images.sampling import observed_slices
from MAEMCLib.inputs.nodule import INPUT, Preprocessing
from MAEMCLib.inputs.region import PLANES, SLICES, cut_roi, stack_grid
from MAEMCLib.networks.configuration import PRESETS, DecoderConfiguration, EncoderConfiguration, encoder_configuration
from MAEMCLib.networks.masking import masked_count, split_observed, split_tokens
from MAEMCLib.networks.vit import Decoder, ViT, patchify

SMALL = {"image_size": 40, "patch_size": 8, "width": 32, "depth": 2, "heads": 4}
LINEAR = EncoderConfiguration(**SMALL)
CONVOLUTIONAL = EncoderConfiguration(**SMALL, embedding="convolutional")
EMBEDDINGS = pytest.mark.parametrize("configuration", [LINEAR, CONVOLUTIONAL], ids=lambda one: one.embedding)


def images(count: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 1, 40, 40, generator=torch.Generator().manual_seed(seed))


def without(pictures: torch.Tensor, *slices: int, value: float = float("nan")) -> torch.Tensor:
    """The montages with some of their slices replaced."""
    changed = pictures.clone()
    for number in slices:
        row, column = divmod(number, 5)
        changed[:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = value
    return changed


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=2e-5)


@EMBEDDINGS
def test_a_slice_that_was_not_observed_makes_no_token(configuration):
    """The network is that of the other slices alone, each at its own place."""
    network, pictures = ViT(configuration, 1).eval(), images()
    there = [n for n in range(SLICES) if n not in (0, 7, 24)]
    keep = torch.tensor(there).expand(3, -1)
    expected = network(pictures, keep)
    found = network(without(pictures, 0, 7, 24))
    assert close(found[:, 0], expected[:, 0])
    assert close(found[:, 1:][:, there], expected[:, 1:])
    assert found.isfinite().all()


@EMBEDDINGS
def test_samples_of_a_batch_may_lack_different_slices(configuration):
    network, pictures = ViT(configuration, 1).eval(), images()
    mixed = torch.cat([without(pictures[:1], *range(3, 25)), pictures[1:2], without(pictures[2:], 12)])
    together = network.features(mixed)
    alone = torch.cat([network.features(mixed[n : n + 1]) for n in range(3)])
    assert close(together, alone)


@EMBEDDINGS
def test_what_is_masked_has_no_influence(configuration):
    network, pictures = ViT(configuration, 1).eval(), images()
    keep, masked = split_tokens(torch.rand(3, SLICES, generator=torch.Generator().manual_seed(4)), 13)
    expected = network(pictures, keep)
    for row in range(3):
        changed = without(pictures[row : row + 1], *masked[row].tolist(), value=1e3)
        assert close(network(changed, keep[row : row + 1]), expected[row : row + 1])


def test_a_convolutional_token_is_of_its_slice_alone():
    network, pictures = ViT(CONVOLUTIONAL, 1).eval(), images(1)
    tokens, present = network.embed(pictures)
    assert present is None and tokens.shape == (1, 26, 32)
    changed, _ = network.embed(without(pictures, 6, value=0.3))
    moved = (tokens != changed).any(dim=2)[0]
    assert moved.nonzero().flatten().tolist() == [7]  # the class token comes first
    # The same slice elsewhere makes the same token, the position aside.
    patch = patchify(pictures, 8)[0]
    assert close(network.patch_embed(patch[:1]), network.patch_embed(patch)[:1])


def test_a_network_that_is_shown_a_few_slices_looks_at_no_other():
    few = EncoderConfiguration(**SMALL, embedding="convolutional", offsets=(-2, 0, 1))
    assert few.shown == (10, 12, 13)
    network, pictures = ViT(few, 1).eval(), images()
    others = [n for n in range(SLICES) if n not in few.shown]
    expected = network.features(pictures)
    assert torch.equal(network.features(without(pictures, *others, value=7.0)), expected)
    assert torch.equal(network.features(without(pictures, *others)), expected)
    assert not close(network.features(without(pictures, 10)), expected)
    everything = ViT(CONVOLUTIONAL, 1).eval()
    everything.load_state_dict(network.state_dict())
    assert close(everything(pictures, torch.tensor(few.shown).expand(3, -1))[:, 0], expected)


def test_attention_leaves_out_what_was_not_observed():
    network = ViT(LINEAR, 1).eval()
    for weights in network.attention(without(images(), 3, 4)):
        assert torch.equal(weights[..., 4:6], torch.zeros_like(weights[..., 4:6]))
        assert torch.allclose(weights.sum(dim=-1), torch.ones(()))


@pytest.mark.parametrize("ratio", [0.5, 0.75])
def test_masks_are_drawn_among_observed_slices(ratio):
    noise = torch.rand(40, SLICES, generator=torch.Generator().manual_seed(0))
    observed = torch.zeros(40, SLICES, dtype=torch.bool)
    for row in range(40):
        observed[row, 12 - row % 13 : 13 + row % 12] = True
    split = split_observed(noise, ratio, observed)
    for row in range(40):
        visible = split.keep[row][split.shown[row]].tolist()
        masked = split.masked[row][split.hidden[row]].tolist()
        there = observed[row].nonzero().flatten().tolist()
        assert sorted(visible + masked) == there
        assert len(masked) == (min(int(len(there) * ratio + 0.5), len(there) - 1) if len(there) > 1 else 0)
        assert not masked or noise[row][masked].min() > noise[row][visible].max()
    whole = split_observed(noise, ratio, torch.ones_like(observed))
    keep, masked = split_tokens(noise, masked_count(SLICES, ratio))
    assert torch.equal(whole.keep, keep) and torch.equal(whole.masked, masked) and whole.observed is None


def test_the_decoder_sees_no_place_that_was_not_observed():
    """What it predicts of the others does not change with the number of slices that are missing from the batch."""
    network, decoder = ViT(CONVOLUTIONAL, 1).eval(), Decoder(CONVOLUTIONAL, DecoderConfiguration(32, 1, 4), 2).eval()
    pictures = images(2)
    pictures[0] = without(pictures[:1], *range(20, 25))[0]
    noise = torch.rand(2, SLICES, generator=torch.Generator().manual_seed(4))
    observed = patchify(pictures, 8)[..., 0].isfinite()

    def predicted(rows: slice) -> torch.Tensor:
        split = split_observed(noise[rows], 0.5, observed[rows])
        tokens = network(pictures[rows], split.keep, split.shown)
        return decoder(tokens, split.keep, split.shown, split.observed)

    together = predicted(slice(None))
    assert close(predicted(slice(0, 1))[0, :20], together[0, :20])
    assert close(predicted(slice(1, 2)), together[1:])


@pytest.mark.parametrize(
    "wrong",
    [
        {"embedding": "recurrent"},
        {"embedding": "convolutional", "patch_size": 4},
        {"offsets": (0, 0)},
        {"offsets": (1, 0)},
        {"offsets": (13,)},
        {"offsets": (0.5,)},
        {"offsets": (0,), "patch_size": 4},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ModelError):
        EncoderConfiguration(**SMALL | wrong)


def test_a_card_gives_the_settings_back():
    values = {**SMALL, "embedding": "convolutional", "offsets": [-1, 0, 1]}
    assert encoder_configuration(values).offsets == (-1, 0, 1)


def slab(slices: int, step: float, first: float) -> CTVolume:
    rng = np.random.default_rng(5)
    affine = np.diag([0.8, 0.8, step, 1.0])
    affine[:3, 3] = (-31.6, -31.6, first)
    return CTVolume(rng.normal(-700, 200, (slices, 80, 80)).astype(np.float32), affine)


def test_observed_slices_lie_between_the_first_and_last_stored_one():
    found = cut_roi(slab(3, 2.5, -2.5), (0.0, 0.0, 0.0)).observed
    assert found["axial"].nonzero()[0].tolist() == [10, 11, 12, 13, 14]  # -2 ... +2 mm
    assert not found["coronal"].any()
    assert cut_roi(slab(1, 5.0, 0.0), (0.0, 0.0, 0.0)).observed["axial"].nonzero()[0].tolist() == [12]
    whole = cut_roi(slab(60, 1.0, -29.5), (0.0, 0.0, 0.0)).observed
    assert whole["axial"].all() and whole["coronal"].all()


def test_turned_and_flipped_volumes_have_the_same_slices_observed():
    volume = slab(9, 1.25, -4.0)
    flipped = volume.affine @ np.diag([1.0, -1.0, -1.0, 1.0])
    flipped[:3, 3] = volume.to_lps(np.array([0, 79, 8]))
    other = CTVolume(volume.array[::-1, ::-1], flipped)
    for plane in PLANES:
        grid = stack_grid(plane, (1.0, 2.0, 0.5))
        assert np.array_equal(observed_slices(volume, grid, (50, 50, 25)), observed_slices(other, grid, (50, 50, 25)))


def test_a_cube_and_the_slab_of_its_nodule_agree(lidc_cubes):
    """Of each cube the slices that meet the nodule alone, where they hold those that the network is shown."""
    encoder = replace(PRESETS["slices"][0], offsets=(-1, 0, 1))
    network, settings, compared = ViT(encoder, 3).eval(), Preprocessing(mean=0.4, std=0.3, skip_unobserved=True), 0
    for path in sorted((lidc_cubes / "images").iterdir()):
        whole, mask = read_volume(path), read_volume(lidc_cubes / "masks" / path.name)
        slices = np.flatnonzero((mask.array > 0).any(axis=(1, 2)))
        first, end = slices[0], slices[-1] + 1
        affine = whole.affine.copy()
        affine[:3, 3] += affine[:3, 2] * first
        point = whole.to_lps(np.array([25.3, 25.1, (first + end - 1) / 2 + 0.2]))
        regions = [cut_roi(volume, point) for volume in (whole, CTVolume(whole.array[first:end], affine))]
        if not regions[1].observed["axial"][list(encoder.shown)].all():
            continue
        images = np.stack([INPUT.images(region, "axial", settings, 250)[0] for region in regions])
        one, other = network.features(torch.from_numpy(images)[:, None])
        assert (one - other).abs().max() < 1e-4
        compared += 1
    assert compared > 60
