"""MAE's loss against a loop over hidden pixels, its free patches and masks, its resume, its reconstructions."""

import copy
from dataclasses import replace

import pytest
import torch
from MAEMCLib.errors import ModelError, UsageError
from MAEMCLib.explain.reconstruction import Autoencoder
from MAEMCLib.networks.configuration import BackboneConfiguration, DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.masking import patchify
from MAEMCTrainingLib.pretraining.configuration import PretrainingConfiguration
from MAEMCTrainingLib.pretraining.method import ViewBatch
from MAEMCTrainingLib.pretraining.methods.mae import MAE, Configuration
from safetensors.torch import save

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


def train(method, optimizer, seeds):
    losses = []
    for seed in seeds:
        optimizer.zero_grad()
        method.before_step()
        parts, kept = method(make_batch(seed))
        parts["loss"].backward()
        optimizer.step()
        method.after_step([kept])
        losses.append(parts["loss"].item())
    return losses


def optimizer_of(method):
    return torch.optim.AdamW([parameter for _, parameter in method.trainable()], lr=1e-3)


def hidden_by(noise, count):
    return sorted(sorted(range(len(noise)), key=lambda token: float(noise[token]))[-count:])


@pytest.mark.parametrize(
    ("ratio", "norm_pixels", "patch", "hidden"),
    [(0.75, False, 8, 12), (0.75, True, 8, 12), (0.6, False, 4, 38), (0.5, True, 16, 2), (0.9, False, 2, 230)],
)
def test_the_loss_is_the_squared_error_of_hidden_pixels(ratio, norm_pixels, patch, hidden):
    encoder = replace(ENCODER, patch_size=patch)
    method, batch = make(Configuration(ratio, norm_pixels), encoder), make_batch(1, 3, encoder)
    assert (method.mask_cells, method.hidden) == (encoder.tokens, hidden)
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


def test_hidden_pixels_are_not_seen():
    method, batch = make(), make_batch(2)
    before, _ = method.reconstruct(batch.images[0], batch.noise[:, 0])
    changed = batch.images[0].clone()
    for b in range(4):
        for token in hidden_by(batch.noise[b, 0], 12):
            row, column = 8 * (token // 4), 8 * (token % 4)
            changed[b, 0, row : row + 8, column : column + 8] = 9.0
    assert torch.equal(method.reconstruct(changed, batch.noise[:, 0])[0], before)


def test_training_lowers_the_loss_of_smooth_pictures():
    method = make(Configuration(mask_ratio=0.5))
    optimizer = torch.optim.AdamW([parameter for _, parameter in method.trainable()], lr=3e-3)
    coarse = torch.randn(16, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, size=32, mode="bilinear")
    losses = []
    for step in range(100):
        batch = replace(make_batch(step, 16), images=(smooth,))
        optimizer.zero_grad()
        loss = method(batch)[0]["loss"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def test_resume_continues_bit_identically():
    straight = make()
    expected = train(straight, optimizer_of(straight), range(6))
    first = make()
    optimizer = optimizer_of(first)
    train(first, optimizer, range(3))
    weights, moments = copy.deepcopy(first.state_dict()), copy.deepcopy(optimizer.state_dict())
    second = make(seed=9)
    second.load_state_dict(weights)
    resumed = optimizer_of(second)
    resumed.load_state_dict(moments)
    assert train(second, resumed, range(3, 6)) == expected[3:]
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in straight.state_dict().items())


def test_every_parameter_learns_and_the_seed_alone_decides_its_start():
    method = make()
    method(make_batch(0))[0]["loss"].backward()
    assert all(parameter.grad is not None for _, parameter in method.trainable())
    again, other = make().state_dict(), make(seed=1).state_dict()
    for name, tensor in method.state_dict().items():
        assert torch.equal(tensor, again[name])
    assert not torch.equal(method.encoder.patch_embed.proj.weight, other["encoder.patch_embed.proj.weight"])


def test_a_bundles_autoencoder_rebuilds_both_planes_alike():
    method, batch = make(), make_batch(3)
    state = method.autoencoder_state()
    save(state)  # refuses two names for the same memory
    autoencoder = Autoencoder(ENCODER, DECODER)
    autoencoder.load_state_dict(state)
    for plane in ("axial", "coronal"):
        expected, hidden = method.reconstruct(batch.images[0], batch.noise[:, 0], plane)
        patches, unseen = autoencoder.rebuild(batch.images[0], batch.noise[:, 0], method.hidden, plane)
        assert torch.equal(patches, expected)
        assert hidden.tolist() == [torch.nonzero(row[:, 0]).flatten().tolist() for row in unseen]


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
    assert all(torch.isfinite(parameter.grad).all() for _, parameter in method.trainable())


def test_what_cannot_be_trained_is_refused():
    for ratio in (0.0, 1.0, -1, float("nan")):
        with pytest.raises(UsageError, match="mask_ratio"):
            Configuration(mask_ratio=ratio)
    with pytest.raises(UsageError, match="16 of 16"):
        make(Configuration(mask_ratio=0.99))
    with pytest.raises(UsageError, match="resnet18"):
        make(encoder=BackboneConfiguration("resnet18", image_size=64))
    with pytest.raises(UsageError, match="one pixel"):
        make(Configuration(norm_pixels=True), EncoderConfiguration(4, 1, 16, 1, 2, position="2d"))
    with pytest.raises(ModelError, match="divides"):
        EncoderConfiguration(image_size=32, patch_size=5)


@pytest.mark.parametrize("name", ["default", "tiny", "paper", "paper-schedule"])
def test_presets(name):
    base = PretrainingConfiguration("mae", Configuration(), ENCODER, DECODER)
    run = MAE.preset(name, base)
    make(run.settings)
    assert run.encoder == ENCODER
    if name == "paper":
        assert (run.epochs, run.settings.mask_ratio, run.settings.norm_pixels) == (800, 0.75, True)
        assert run.optimization.learning_rate == pytest.approx(3.75e-5)
