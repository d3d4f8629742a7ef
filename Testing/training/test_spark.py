"""SparK: what its decoder is given and makes of it, computed slowly; its masked encoder is tested on its own."""

import copy

import pytest
import torch
from MAEMCLib.networks.configuration import BackboneConfiguration, DecoderConfiguration
from MAEMCTrainingLib.pretraining.methods.spark import SparK
from MAEMCTrainingLib.pretraining.parts.masked_convolutions import blank, masked, stage_features
from torch.nn import functional


def make(backbone="resnet18", stem="standard", **settings) -> SparK:
    settings = {"mask_patch": 16, "decoder_width": 32, **settings}
    encoder = BackboneConfiguration(backbone, image_size=64, stem=stem)
    method = SparK(SparK.Configuration(**settings), encoder, DecoderConfiguration(), 0)
    with torch.no_grad():  # figures that blank no mistake
        for tensor in method.parameters():
            if tensor.ndim == 1:
                tensor.copy_(torch.rand(tensor.shape) + 0.5)
    return method


def mask(*hidden_cells: list[int]) -> torch.Tensor:
    visible = torch.ones(len(hidden_cells), 16, dtype=torch.bool)
    for image, cells in enumerate(hidden_cells):
        visible[image, cells] = False
    return visible.reshape(-1, 1, 4, 4)


def normalized(maps: torch.Tensor, norm: torch.nn.Module) -> torch.Tensor:
    mean, variance = maps.mean(dim=(0, 2, 3)), maps.var(dim=(0, 2, 3), unbiased=False)
    scaled = (maps - mean[:, None, None]) / (variance + norm.eps).sqrt()[:, None, None]
    return scaled * norm.weight[:, None, None] + norm.bias[:, None, None]


@pytest.mark.parametrize(("stem", "doublings"), [("standard", 5), ("small", 4)])
def test_hidden_places_are_filled_at_every_level_and_the_image_is_rebuilt_from_all(stem, doublings):
    torch.manual_seed(0)
    method = make(stem=stem)
    images = torch.randn(2, 1, 64, 64)
    visible = mask([0, 1, 4, 5, 7, 8, 10, 11, 15], [0, 2, 3, 5, 6, 8, 9, 13, 14])
    with torch.no_grad():
        rebuilt = copy.deepcopy(method).complete(images, visible)
        body = copy.deepcopy(method.encoder.body)
        with masked(visible, body):
            stages = stage_features(body, blank(images, visible))
        filled = []
        for level, stage in enumerate(reversed(stages)):
            side = stage.shape[-1]
            seen, unseen = [], []
            for b in range(2):
                for y in range(side):
                    for x in range(side):
                        rows = range(y * 4 // side, max(y * 4 // side + 1, (y + 1) * 4 // side))
                        columns = range(x * 4 // side, max(x * 4 // side + 1, (x + 1) * 4 // side))
                        shown = any(visible[b, 0, i, j] for i in rows for j in columns)
                        (seen if shown else unseen).append((b, y, x))
            vectors = torch.stack([stage[b, :, y, x] for b, y, x in seen]).T[None, :, :, None]
            full = torch.empty_like(stage)
            for (b, y, x), vector in zip(seen, normalized(vectors, method.norms[level])[0, :, :, 0].T, strict=True):
                full[b, :, y, x] = vector
            for b, y, x in unseen:
                full[b, :, y, x] = method.mask_embeddings[level][0, :, 0, 0]
            filled.append(full)
            assert unseen or side == 2
        maps = 0.0
        decoder = method.decoder
        assert len(decoder.doublings) == doublings
        for number, doubling in enumerate(decoder.doublings):
            if number < 4:
                convolution = decoder.inputs[number]
                padding = 1 if number else 0
                maps = maps + functional.conv2d(filled[number], convolution.weight, convolution.bias, padding=padding)
            maps = functional.conv_transpose2d(maps, doubling.up.weight, doubling.up.bias, stride=2, padding=1)
            maps = normalized(functional.conv2d(maps, doubling.conv1.weight, padding=1), doubling.norm1)
            maps = normalized(functional.conv2d(maps.clamp(0, 6), doubling.conv2.weight, padding=1), doubling.norm2)
            assert maps.shape[1] == 32 >> (number + 1)
        expected = functional.conv2d(maps, decoder.predict.weight, decoder.predict.bias)
    torch.testing.assert_close(rebuilt, expected, rtol=1e-4, atol=1e-4)


def test_published_masks_have_the_borders_of_every_map():
    """Cells of 32 pixels: no place of any map covers two of them."""
    method = make(mask_patch=32)
    assert method.mask_cells == 4
    assert method.masked == 2
    assert [stride for _, stride in method.levels] == [4, 8, 16, 32]


def test_bottlenecks_are_masked_too():
    method = make("resnet50")
    assert [channels for channels, _ in method.levels] == [256, 512, 1024, 2048]
    images, visible = torch.randn(2, 1, 64, 64), mask([0, 5, 7], [1, 2, 3])
    others = torch.where(visible.repeat_interleave(16, 2).repeat_interleave(16, 3), images, 9.0)
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(method).complete(images, visible), method.complete(others, visible))
