"""What SparK, Res-MAE and FCMAE share: mask grid, loss, reconstructions in gray values."""

import copy
from dataclasses import replace

import pytest
import torch
from MAEMCLib.errors import UsageError
from MAEMCLib.networks.configuration import BackboneConfiguration, DecoderConfiguration
from MAEMCLib.networks.vit import unpatchify
from MAEMCTrainingLib.pretraining.method import ViewBatch
from MAEMCTrainingLib.pretraining.methods.fcmae import FCMAE
from MAEMCTrainingLib.pretraining.methods.resmae import ResMAE
from MAEMCTrainingLib.pretraining.methods.spark import SparK
from MAEMCTrainingLib.pretraining.parts.masked_reconstruction import MaskSettings, mask_grid

RESNET = BackboneConfiguration("resnet18", image_size=64)
CONVNEXT = BackboneConfiguration("convnextv2-atto", image_size=64)
METHODS = {
    "spark": (SparK, MaskSettings(mask_patch=16, decoder_width=64), RESNET),
    "resmae": (ResMAE, MaskSettings(mask_patch=16, norm_pixels=False, decoder_width=64), RESNET),
    "fcmae": (FCMAE, MaskSettings(mask_patch=16, decoder_width=32), CONVNEXT),
}
EVERY = pytest.mark.parametrize("name", METHODS)


def make(name, seed=0, **changes):
    kind, settings, encoder = METHODS[name]
    return kind(replace(settings, **changes), encoder, DecoderConfiguration(), seed)


def make_batch(seed, size=3, cells=16) -> ViewBatch:
    """Pictures of a few waves, so that what is hidden can be told from what is visible."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    waves = torch.rand(size, 3, 3, 1, 1, generator=generator)
    images = torch.sin(waves[:, :, 0] * 0.2 * x + waves[:, :, 1] * 0.2 * y + 6.3 * waves[:, :, 2]).sum(1, keepdim=True)
    return ViewBatch(
        images=(images + 0.05 * torch.randn(size, 1, 64, 64, generator=generator),),
        patient=torch.arange(size),
        noise=torch.rand(size, 1, cells, generator=generator),
        attributes=torch.zeros(size, 0, dtype=torch.bool),
    )


def hidden_by(noise, count):
    return sorted(sorted(range(len(noise)), key=lambda cell: float(noise[cell]))[-count:])


@EVERY
@pytest.mark.parametrize(("norm_pixels", "ratio", "hidden"), [(True, 0.6, 10), (False, 0.5, 8)])
def test_the_loss_is_the_squared_error_of_hidden_pixels(name, norm_pixels, ratio, hidden):
    method, batch = make(name, norm_pixels=norm_pixels, mask_ratio=ratio), make_batch(1)
    assert method.mask_cells == 16
    images = batch.images[0]
    visible = torch.ones(3, 1, 4, 4, dtype=torch.bool)
    cells = [hidden_by(batch.noise[b, 0], hidden) for b in range(3)]
    for b in range(3):
        for cell in cells[b]:
            visible[b, 0, cell // 4, cell % 4] = False
    with torch.no_grad():
        rebuilt = copy.deepcopy(method).complete(images, visible)
    assert rebuilt.shape == images.shape
    squares, pixels = 0.0, 0
    for b in range(3):
        for cell in cells[b]:
            rows, columns = slice(16 * (cell // 4), 16 * (cell // 4) + 16), slice(16 * (cell % 4), 16 * (cell % 4) + 16)
            target = [float(value) for value in images[b, 0, rows, columns].flatten()]
            predicted = [float(value) for value in rebuilt[b, 0, rows, columns].flatten()]
            if norm_pixels:
                mean = sum(target) / 256
                variance = sum((value - mean) ** 2 for value in target) / 255
                target = [(value - mean) / (variance + 1e-6) ** 0.5 for value in target]
            squares += sum((one - two) ** 2 for one, two in zip(predicted, target, strict=True))
            pixels += 256
    parts, kept = method(batch)
    assert kept is None
    assert parts["loss"].item() == pytest.approx(squares / pixels, rel=1e-5)
    assert parts["loss_mse"].item() == parts["loss"].item()
    assert parts["loss"].requires_grad
    assert not parts["loss_mse"].requires_grad


@EVERY
def test_hidden_pixels_change_nothing_that_is_predicted(name):
    method = make(name, norm_pixels=False)
    images, noise = make_batch(0).images[0], make_batch(0).noise[:, 0]
    for training in (True, False):
        method.train(training)
        prediction, hidden = copy.deepcopy(method).reconstruct(images, noise)
        covered = torch.zeros(3, 16, dtype=torch.bool).scatter(1, hidden, True)
        pixels = unpatchify(covered[:, :, None].expand(3, 16, 256))
        others = torch.where(pixels, torch.full_like(images, float("inf")), images)
        assert torch.equal(copy.deepcopy(method).reconstruct(others, noise)[0], prediction)
        shown = torch.where(pixels, images, images + 0.1)
        assert not torch.equal(copy.deepcopy(method).reconstruct(shown, noise)[0], prediction)


@EVERY
@pytest.mark.parametrize("norm_pixels", [True, False])
def test_reconstructions_are_in_gray_values(name, norm_pixels):
    method, batch = make(name, norm_pixels=norm_pixels).eval(), make_batch(2)
    images = 5 * batch.images[0] + 40
    prediction, hidden = method.reconstruct(images, batch.noise[:, 0], "coronal")
    assert prediction.shape == (3, 16, 256)
    assert [row.tolist() for row in hidden] == [hidden_by(batch.noise[b, 0], 10) for b in range(3)]
    assert not prediction.requires_grad
    visible, _ = method.split(batch.noise[:, 0])
    with torch.no_grad():
        rebuilt = method.complete(images, visible)
    for b, row, column in ((0, 0, 0), (1, 2, 3), (2, 3, 1)):
        place = (b, 0, slice(16 * row, 16 * row + 16), slice(16 * column, 16 * column + 16))
        expected = rebuilt[place]
        if norm_pixels:
            expected = expected * (images[place].var() + 1e-6).sqrt() + images[place].mean()
        torch.testing.assert_close(prediction[b, 4 * row + column], expected.flatten(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ["spark", "resmae"])
def test_the_sizes_next_to_one_that_does_not_fit_are_named(name):
    kind, settings, _ = METHODS[name]
    with pytest.raises(UsageError, match="224 or 256"):
        kind(settings, BackboneConfiguration("resnet18", image_size=250), DecoderConfiguration(), 0)
    with pytest.raises(UsageError, match="multiple of 32"):
        make(name, decoder_width=48)


@pytest.mark.parametrize(
    ("size", "patch", "stride", "message"),
    [
        (250, 32, 32, "224 or 256"),
        (96, 64, 32, "64 or 128"),
        (20, 32, 32, "sizes are 32;"),
        (224, 24, 32, "2, 4, 8, 16, 32 or a multiple of 32"),
        (224, 1, 32, "2, 4, 8, 16, 32"),
        (64, 64, 32, "of 1 patches"),
        (72, 32, 16, "64 or 96"),
    ],
)
def test_grids_that_do_not_fit_say_what_would(size, patch, stride, message):
    with pytest.raises(UsageError, match=message):
        mask_grid(size, patch, 0.6, stride)


def test_the_grid_counts_exactly():
    assert mask_grid(224, 32, 0.6, 32) == (49, 29)
    assert mask_grid(64, 16, 0.5, 32) == (16, 8)
    assert mask_grid(192, 64, 0.6, 32) == (9, 5)
