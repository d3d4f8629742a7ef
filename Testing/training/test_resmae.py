"""Res-MAE: what the encoder is given, and that nothing but its last map reaches the decoder."""

import torch
from MAEMCLib.networks.configuration import BackboneConfiguration, DecoderConfiguration
from MAEMCTrainingLib.pretraining.methods.resmae import ResMAE


def make(stem="standard", **settings) -> ResMAE:
    settings = {"mask_patch": 16, "decoder_width": 32, "norm_pixels": False, **settings}
    encoder = BackboneConfiguration("resnet18", image_size=64, stem=stem)
    method = ResMAE(ResMAE.Configuration(**settings), encoder, DecoderConfiguration(), 0)
    with torch.no_grad():  # figures that hide no mistake
        for tensor in method.parameters():
            tensor.copy_(torch.rand(tensor.shape) + 0.5 if tensor.ndim == 1 else tensor)
        method.decoder.predict.weight.fill_(1.0)
    return method


def test_blocks_are_zero_and_the_plain_encoder_sees_the_rest():
    torch.manual_seed(0)
    for stem, doublings in (("standard", 5), ("small", 4)):
        method = make(stem)
        images = torch.randn(2, 1, 64, 64)
        visible = torch.ones(2, 1, 4, 4, dtype=torch.bool)
        zeroed = images.clone()
        for image, cells in enumerate(([0, 3, 5, 6, 9, 10, 12, 15], [1, 2, 4, 7, 8, 11, 13, 14])):
            for cell in cells:
                row, column = divmod(cell, 4)
                visible[image, 0, row, column] = False
                for y in range(16):
                    for x in range(16):
                        zeroed[image, 0, 16 * row + y, 16 * column + x] = 0
        with torch.no_grad():
            last = method.encoder.body.forward_features(zeroed)
            maps = method.decoder.inputs[0](last)
            for doubling in method.decoder.doublings:
                maps = doubling(maps)
            expected = method.decoder.predict(maps)
            torch.testing.assert_close(method.complete(images, visible), expected, rtol=1e-5, atol=1e-6)
            assert (method.complete(images, visible) - method.complete(images, ~visible)).abs().max() > 1e-2
        assert (len(method.decoder.inputs), len(method.decoder.doublings)) == (1, doublings)


def test_any_number_of_blocks_that_fit():
    assert make(mask_patch=32).mask_cells == 4
    assert make(mask_patch=8).mask_cells == 64
    assert make(mask_patch=8, mask_ratio=0.5).masked == 32
