"""MAE's loss against a loop over hidden pixels, its free patches and masks, its reconstructions in gray values."""

from dataclasses import replace

import pytest
import torch
from MAEMCLib.errors import ModelError, UsageError
from MAEMCLib.networks.configuration import DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.vit import patchify
from MAEMCTrainingLib.pretraining.method import ViewBatch
from MAEMCTrainingLib.pretraining.methods.mae import MAE
from MAEMCTrainingLib.pretraining.parts.masked_transformer import MaskedTransformerSettings as Configuration

from Testing.training.method_steps import trainable

ENCODER = EncoderConfiguration(image_size=32, patch_size=8, width=16, depth=2, heads=2, position="2d")
DECODER = DecoderConfiguration(width=16, depth=1, heads=2)


def make(settings=Configuration(), encoder=ENCODER, seed=0) -> MAE:  # noqa: B008 - frozen
    return MAE(settings, encoder, DECODER, seed)


def make_batch(seed, size=4, encoder=ENCODER) -> ViewBatch:
    generator = torch.Generator().manual_seed(seed)
    return ViewBatch(
        images=(torch.randn(size, 1, encoder.image_size, encoder.image_size, generator=generator),),
        patient=torch.arange(size),
        noise=torch.rand(size, 1, encoder.tokens, generator=generator),
        attributes=torch.zeros(size, 0, dtype=torch.bool),
    )


def hidden_by(noise, count):
    return sorted(sorted(range(len(noise)), key=lambda token: float(noise[token]))[-count:])


@pytest.mark.parametrize(
    ("ratio", "norm_pixels", "patch", "hidden"),
    [(0.75, False, 8, 12), (0.75, True, 8, 12), (0.6, False, 4, 38), (0.5, True, 16, 2), (0.9, False, 2, 230)],
)
def test_the_loss_is_the_squared_error_of_hidden_pixels(ratio, norm_pixels, patch, hidden):
    encoder = replace(ENCODER, patch_size=patch)
    method, batch = make(Configuration(ratio, norm_pixels), encoder), make_batch(1, 3, encoder)
    assert (method.mask_cells, method.masked) == (encoder.tokens, hidden)
    parts, _ = method(batch)
    squares, pixels, side = 0.0, 0, 32 // patch
    for b in range(3):
        missing = hidden_by(batch.noise[b, 0], hidden)
        keep = torch.tensor([[token for token in range(side**2) if token not in missing]])
        with torch.no_grad():
            predicted = method.decoder(method.encoder(batch.images[0][b : b + 1], keep), keep)[0].double()
        for token in missing:
            row, column = patch * (token // side), patch * (token % side)
            target = batch.images[0][b, 0, row : row + patch, column : column + patch].double().flatten()
            if norm_pixels:
                mean = sum(target) / len(target)
                variance = sum((value - mean) ** 2 for value in target) / (len(target) - 1)
                target = (target - mean) / (variance + 1e-6) ** 0.5
            for one, two in zip(predicted[token], target, strict=True):
                squares, pixels = squares + float(one - two) ** 2, pixels + 1
    assert parts["loss"].item() == pytest.approx(squares / pixels, rel=1e-5)
    assert parts["loss_mse"].item() == parts["loss"].item() and not parts["loss_mse"].requires_grad


def test_standardized_patches_are_rebuilt_in_gray_values():
    plain, method, batch = make(), make(Configuration(norm_pixels=True)), make_batch(3)
    images = 5 * batch.images[0] + 2
    prediction, _ = method.reconstruct(images, batch.noise[:, 0])
    raw, _ = plain.reconstruct(images, batch.noise[:, 0])  # the same weights: what the network itself gives
    target = patchify(images, 8)
    expected = raw * (target.var(dim=-1, keepdim=True) + 1e-6).sqrt() + target.mean(dim=-1, keepdim=True)
    torch.testing.assert_close(prediction, expected)
    assert method.autoencoder_state() == {}  # a bundle could not say the patches' means


def test_a_picture_of_one_gray_value_stays_finite():
    method = make(Configuration(norm_pixels=True))
    parts, _ = method(replace(make_batch(0), images=(torch.full((4, 1, 32, 32), 0.3),)))
    parts["loss"].backward()
    assert torch.isfinite(parts["loss"])
    assert all(torch.isfinite(parameter.grad).all() for _, parameter in trainable(method))


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(UsageError, match="one pixel"):
        make(Configuration(norm_pixels=True), EncoderConfiguration(4, 1, 16, 1, 2, position="2d"))
    with pytest.raises(ModelError, match="divides"):
        EncoderConfiguration(image_size=32, patch_size=5)
