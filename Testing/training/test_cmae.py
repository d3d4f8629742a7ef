"""CMAE's step against its equations computed slowly, image by image; its momentum branch, its resume."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from MAEMCLib.errors import UsageError
from MAEMCLib.explain.reconstruction import Autoencoder
from MAEMCLib.networks.configuration import BackboneConfiguration, DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.masking import patchify
from MAEMCTrainingLib.pretraining.configuration import PretrainingConfiguration
from MAEMCTrainingLib.pretraining.method import ViewBatch
from MAEMCTrainingLib.pretraining.methods.cmae import CMAE, Configuration
from MAEMCTrainingLib.pretraining.methods.mae import standardized

ENCODER = EncoderConfiguration(image_size=32, patch_size=8, width=16, depth=2, heads=2, position="2d")
DECODER = DecoderConfiguration(width=16, depth=1, heads=2)
SETTINGS = Configuration(projection_width=8)


def make(settings=SETTINGS, seed=0) -> CMAE:
    return CMAE(settings, ENCODER, DECODER, seed)


def make_batch(seed, size=6, patients=4) -> ViewBatch:
    generator = torch.Generator().manual_seed(seed)
    return ViewBatch(
        images=tuple(torch.randn(size, 1, 32, 32, generator=generator) for _ in range(2)),
        patient=torch.randint(0, patients, (size,), generator=generator),
        noise=torch.rand(size, 2, 16, generator=generator),
        attributes=torch.zeros(size, 0, dtype=torch.bool),
    )


def optimizer_of(method):
    return torch.optim.AdamW([parameter for _, parameter in method.trainable()], lr=1e-3)


def train(method, optimizer, seeds):
    log = []
    for seed in seeds:
        optimizer.zero_grad()
        method.before_step()
        parts, kept = method(make_batch(seed))
        parts["loss"].backward()
        optimizer.step()
        method.after_step([kept])
        log.append({name: value.item() for name, value in parts.items()})
    return log


def slow_head(head, rows):
    """Linear, batch normalization over the rows, ReLU, linear."""
    first, norm, _, last = head.layers
    middle = [first.weight @ row + first.bias for row in rows]
    mean = sum(middle) / len(middle)
    variance = sum((row - mean) ** 2 for row in middle) / len(middle)
    scaled = [norm.weight * (row - mean) / (variance + 1e-5).sqrt() + norm.bias for row in middle]
    return [last.weight @ row.clamp(min=0) + last.bias for row in scaled]


def slow_step(method, batch):
    settings, squares, pixels, online, target = method.configuration, 0.0, 0, [], []
    for b in range(len(batch)):
        order = sorted(range(16), key=lambda token: float(batch.noise[b, 0, token]))
        hidden = sorted(order[4:])
        keep = torch.tensor([sorted(order[:4])])
        tokens = method.encoder(batch.images[0][b : b + 1], keep)
        patches = patchify(batch.images[0][b : b + 1], 8)
        if settings.norm_pixels:
            patches = standardized(patches)[0]
        prediction = method.decoder(tokens, keep)[0]
        for token in hidden:
            squares += float((prediction[token] - patches[0, token]).double().square().sum())
            pixels += 64
        features = method.feature_decoder(tokens, keep)[0]
        assert features.shape == (16, 16)
        online.append(sum(features) / 16)
        whole = method.momentum_encoder(batch.images[1][b : b + 1])[0, 1:]
        target.append(sum(whole) / 16)
    queries = slow_head(method.prediction, slow_head(method.projection, online))
    keys = slow_head(method.momentum_projection, target)
    similar = [[float(q @ k / q.norm() / k.norm()) / settings.temperature for k in keys] for q in queries]
    contrast, negatives = 0.0, 0
    for b, row in enumerate(similar):
        used = [
            other
            for other in range(len(row))
            if other != b and (settings.same_patient == "keep" or batch.patient[other] != batch.patient[b])
        ]
        negatives += len(used)
        contrast -= math.log(math.exp(row[b]) / (math.exp(row[b]) + sum(math.exp(row[other]) for other in used)))
    mse, nce = squares / pixels, contrast / len(batch)
    return {
        "loss": mse + settings.contrastive_weight * nce,
        "loss_mse": mse,
        "loss_info_nce": nce,
        "negatives": negatives / len(batch),
    }


@pytest.mark.parametrize(
    "changes", [{}, {"same_patient": "keep"}, {"norm_pixels": True, "contrastive_weight": 0.14, "temperature": 0.2}]
)
def test_steps_equal_the_equations_computed_slowly(changes):
    method = make(replace(SETTINGS, **changes))
    optimizer = optimizer_of(method)
    for seed in range(3):
        twin = copy.deepcopy(method)
        twin.before_step()
        with torch.no_grad():
            expected = slow_step(twin, make_batch(seed))
        parts = train(method, optimizer, [seed])[0]
        assert set(parts) == set(expected)
        for name, value in expected.items():
            assert parts[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name


def test_momentum_branch_follows_and_never_learns_by_gradient():
    method = make()
    names = ("encoder", "projection")
    for name in names:
        pairs = zip(getattr(method, name).parameters(), getattr(method, f"momentum_{name}").parameters(), strict=True)
        assert all(torch.equal(one, two) for one, two in pairs)
    train(method, optimizer_of(method), range(2))
    for name in names:
        online, copies = getattr(method, name), getattr(method, f"momentum_{name}")
        before = copy.deepcopy(copies.state_dict())
        method.before_step()
        for key, value in copies.state_dict().items():
            expected = 0.996 * before[key].double() + 0.004 * online.state_dict()[key].double()
            torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-7)
    for name, parameter in method.named_parameters():
        assert (parameter.grad is None) == name.startswith("momentum_"), name
    assert not any(name.startswith("momentum_") for name, _ in method.trainable())


def test_hidden_pixels_of_the_online_view_are_not_seen_and_the_other_view_is_seen_whole():
    method, batch = make(), make_batch(0)
    contrast = method(batch)[0]["loss_info_nce"]
    changed = batch.images[0].clone()
    for b in range(6):
        for token in batch.noise[b, 0].argsort()[4:].tolist():
            row, column = 8 * (token // 4), 8 * (token % 4)
            changed[b, 0, row : row + 8, column : column + 8] = 7.0
    assert method(replace(batch, images=(changed, batch.images[1])))[0]["loss_info_nce"] == contrast
    for token in range(16):
        other = batch.images[1].clone()
        row, column = 8 * (token // 4), 8 * (token % 4)
        other[0, 0, row : row + 8, column : column + 8] += 3.0
        assert method(replace(batch, images=(batch.images[0], other)))[0]["loss_info_nce"] != contrast


def test_one_patient_alone_leaves_no_negatives():
    parts, _ = make()(make_batch(0, patients=1))
    assert parts["negatives"].item() == 0 and parts["loss_info_nce"].item() == 0
    assert parts["loss"].item() == parts["loss_mse"].item()


def test_training_lowers_both_losses():
    method = make(Configuration(mask_ratio=0.5, projection_width=16, temperature=0.2, momentum=0.9))
    optimizer = torch.optim.AdamW([parameter for _, parameter in method.trainable()], lr=3e-3)
    coarse = torch.randn(16, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, size=36, mode="bilinear")
    log = []
    for step in range(120):
        batch = make_batch(step, 16, patients=10_000)
        batch = replace(batch, images=(smooth[..., :32, :32], smooth[..., 3:35, 2:34]))
        optimizer.zero_grad()
        method.before_step()
        parts, _ = method(batch)
        parts["loss"].backward()
        optimizer.step()
        log.append({name: value.item() for name, value in parts.items()})
    for name in ("loss_mse", "loss_info_nce"):
        assert sum(part[name] for part in log[-10:]) < 0.7 * sum(part[name] for part in log[:10]), name


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


def test_reconstruction_by_the_online_encoder():
    method, batch = make(), make_batch(3)
    train(method, optimizer_of(method), range(2))
    autoencoder = Autoencoder(ENCODER, DECODER)
    autoencoder.load_state_dict(method.autoencoder_state())
    for plane in ("axial", "coronal"):
        expected, _ = method.reconstruct(batch.images[0], batch.noise[:, 0], plane)
        assert torch.equal(autoencoder.rebuild(batch.images[0], batch.noise[:, 0], 12, plane)[0], expected)
    assert make(replace(SETTINGS, norm_pixels=True)).autoencoder_state() == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"mask_ratio": 1.0},
        {"temperature": 0.0},
        {"momentum": 1.0},
        {"feature_depth": 0},
        {"projection_width": 0},
        {"contrastive_weight": -1.0},
        {"same_patient": "maybe"},
    ],
)
def test_impossible_settings_are_refused(changes):
    with pytest.raises(UsageError, match=next(iter(changes))):
        Configuration(**changes)


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(UsageError, match="one sample"):
        make()(make_batch(0, size=1))
    with pytest.raises(UsageError, match="resnet18"):
        CMAE(SETTINGS, BackboneConfiguration("resnet18", image_size=64), DECODER, 0)
    with pytest.raises(UsageError, match="16 of 16"):
        make(replace(SETTINGS, mask_ratio=0.99))


@pytest.mark.parametrize("name", ["default", "tiny", "paper", "paper-schedule"])
def test_presets(name):
    run = CMAE.preset(name, PretrainingConfiguration("cmae", Configuration(), ENCODER, DECODER))
    make(run.settings)
    if name == "paper":
        assert (run.epochs, run.settings.momentum, run.settings.feature_depth) == (1600, 0.996, 2)
