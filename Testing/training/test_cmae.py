"""CMAE's step against its equations computed slowly, image by image; what each branch sees."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from MAEMCLib.networks.configuration import DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.vit import patchify
from MAEMCTrainingLib.pretraining.method import ViewBatch
from MAEMCTrainingLib.pretraining.methods.cmae import CMAE, Configuration
from MAEMCTrainingLib.pretraining.parts.losses import standardized

from Testing.training.method_steps import optimizer_of, train

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
        parts = train(method, optimizer, [make_batch(seed)])[0]
        assert set(parts) == set(expected)
        for name, value in expected.items():
            assert parts[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name


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
