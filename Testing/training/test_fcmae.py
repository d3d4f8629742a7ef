"""FCMAE: what its decoder is given and makes of it, computed slowly; its masked encoder is tested on its own."""

import pytest
import torch
from MAEMCLib.networks.configuration import BackboneConfiguration, DecoderConfiguration
from MAEMCTrainingLib.pretraining.methods.fcmae import FCMAE
from MAEMCTrainingLib.pretraining.parts.masked_convolutions import blank, masked, stage_features

from Testing.training.method_steps import trainable


def make(**settings) -> FCMAE:
    settings = {"mask_patch": 16, "decoder_width": 24, **settings}
    encoder = BackboneConfiguration("convnextv2-atto", image_size=64)
    method = FCMAE(FCMAE.Configuration(**settings), encoder, DecoderConfiguration(), 0)
    with torch.no_grad():  # figures that blank no mistake
        for tensor in method.parameters():
            if tensor.ndim == 1:
                tensor.copy_(torch.rand(tensor.shape) + 0.5)
    return method


@pytest.mark.parametrize(("patch", "hidden"), [(16, [0, 1, 4, 5, 7, 8]), (32, [1, 2])])
def test_hidden_places_are_filled_and_each_place_predicts_its_pixels(patch, hidden):
    torch.manual_seed(0)
    method, grid = make(mask_patch=patch), 64 // patch
    images = torch.randn(2, 1, 64, 64)
    visible = torch.ones(2, grid * grid, dtype=torch.bool)
    visible[0, hidden] = False
    visible = visible.reshape(2, 1, grid, grid)
    with torch.no_grad():
        with masked(visible, method.encoder.body):
            last = stage_features(method.encoder.body, blank(images, visible))[-1]
        weight, bias = method.embed.weight[:, :, 0, 0], method.embed.bias
        places, filled = torch.empty(2, 24, 2, 2), 0
        for b in range(2):
            for y in range(2):
                for x in range(2):
                    below = visible[b, 0, y * grid // 2 : (y + 1) * grid // 2, x * grid // 2 : (x + 1) * grid // 2]
                    shown = bool(below.any())
                    places[b, :, y, x] = weight @ last[b, :, y, x] + bias if shown else method.mask_token[0, :, 0, 0]
                    filled += not shown
        assert filled == (2 if patch == 32 else 1)
        decoded = method.block(places)
        weight, bias = method.predict.weight[:, :, 0, 0], method.predict.bias
        expected = torch.empty_like(images)
        for b in range(2):
            for y in range(2):
                for x in range(2):
                    pixels = (weight @ decoded[b, :, y, x] + bias).reshape(32, 32)
                    expected[b, 0, 32 * y : 32 * y + 32, 32 * x : 32 * x + 32] = pixels
        torch.testing.assert_close(method.complete(images, visible), expected, rtol=1e-4, atol=1e-4)


def test_the_decoder_is_one_block_with_response_normalization():
    method = make()
    assert method.block.mlp.grn.weight.shape == (96,)
    assert method.predict.out_channels == 32 * 32


def test_the_norm_behind_the_pooling_is_left_for_fine_tuning():
    method = make()
    names = [name for name, _ in trainable(method)]
    assert not any(name.startswith("encoder.body.head") for name in names)
    assert any(name.startswith("body.head") for name in method.encoder.state_dict())
