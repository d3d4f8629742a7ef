"""MAEMC-NET's training step against the paper's equations computed slowly, and its order of events."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from MAEMCLib.networks.configuration import DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.vit import patchify
from MAEMCTrainingLib.pretraining.method import ViewBatch
from MAEMCTrainingLib.pretraining.methods.maemc import MAEMC, Configuration

from Testing.training.method_steps import optimizer_of, train

ENCODER = EncoderConfiguration(width=32, depth=2, heads=4)
DECODER = DecoderConfiguration(width=16, depth=1, heads=2)
SETTINGS = Configuration(queue_size=11, projection_width=8)


def make(settings: Configuration = SETTINGS, seed: int = 0) -> MAEMC:
    return MAEMC(settings, ENCODER, DECODER, seed)


def make_batch(seed: int, size: int = 4, patients: int = 3, tokens: int = 25) -> ViewBatch:
    generator = torch.Generator().manual_seed(seed)
    return ViewBatch(
        images=tuple(torch.randn(size, 1, 250, 250, generator=generator) for _ in range(2)),
        patient=torch.randint(0, patients, (size,), generator=generator),
        noise=torch.rand(size, 2, tokens, generator=generator),
        attributes=torch.zeros(size, 0, dtype=torch.bool),
    )


def step(method: MAEMC, batch: ViewBatch) -> dict[str, torch.Tensor]:
    """All of a step but the optimizer's: gradients are added up."""
    method.before_step()
    parts, kept = method(batch)
    parts["loss"].backward()
    method.after_step([kept])
    return parts


def visible_and_hidden(noise: torch.Tensor, hidden: int) -> tuple[list[int], list[int]]:
    order = sorted(range(len(noise)), key=lambda token: float(noise[token]))
    return sorted(order[: len(order) - hidden]), sorted(order[len(order) - hidden :])


def slow_features(encoder, flattening, image, keep):
    tokens = encoder(image[None], torch.tensor([keep]))[0]
    weight, bias = flattening.conv.weight[:, :, 0], flattening.conv.bias
    vectors = [weight @ token + bias for token in tokens[1:]]
    mean = sum(vectors) / len(vectors)
    return mean / mean.norm(), tokens


def slow_step(method: MAEMC, batch: ViewBatch, stored: list[tuple[torch.Tensor, int]]) -> dict[str, float]:
    """One direction of the step, sample by sample; ``stored``: the queue's keys and patients."""
    settings = method.configuration
    squares, pixels, contrast, negatives = 0.0, 0, [], []
    for b in range(len(batch)):
        keep, hidden = visible_and_hidden(batch.noise[:, 0][b], 13)
        key_keep, _ = visible_and_hidden(batch.noise[:, 1][b], 13)
        query, tokens = slow_features(method.encoder, method.flattening, batch.images[0][b], keep)
        key, _ = slow_features(method.momentum_encoder, method.momentum_flattening, batch.images[1][b], key_keep)
        prediction = method.decoder(tokens[None], torch.tensor([keep]))[0]
        target = patchify(batch.images[0][b][None], 50)[0]
        for token in hidden:
            squares += float((prediction[token] - target[token]).double().square().sum())
            pixels += 2500
        positive = math.exp(float(query @ key) / settings.temperature)
        own = int(batch.patient[b])
        used = [k for k, patient in stored if settings.same_patient == "keep" or patient != own]
        total = positive + sum(math.exp(float(query @ k) / settings.temperature) for k in used)
        contrast.append(-math.log(positive / total))
        negatives.append(len(used))
    mse, nce = squares / pixels, sum(contrast) / len(contrast)
    balance = settings.loss_balance
    return {
        "loss": balance * mse + (1 - balance) * nce,
        "loss_mse": mse,
        "loss_info_nce": nce,
        "negatives": sum(negatives) / len(negatives),
    }


@pytest.mark.parametrize("changes", [{}, {"same_patient": "keep"}, {"loss_balance": 0.9, "temperature": 0.2}])
def test_steps_equal_the_equations_computed_slowly(changes):
    method = make(replace(SETTINGS, **changes))
    optimizer = optimizer_of(method)
    stored: list[tuple[torch.Tensor, int]] = []
    for seed in range(5):  # 20 keys pass a queue of 11: empty, partly filled, wrapped
        batch = make_batch(seed)
        twin = copy.deepcopy(method)
        twin.before_step()
        with torch.no_grad():
            expected = slow_step(twin, batch, stored)
            for b in range(len(batch)):
                keep, _ = visible_and_hidden(batch.noise[:, 1][b], 13)
                key, _ = slow_features(twin.momentum_encoder, twin.momentum_flattening, batch.images[1][b], keep)
                stored.append((key, int(batch.patient[b])))
        stored = stored[-11:]
        parts = train(method, optimizer, [batch])[0]
        assert set(parts) == {"loss", "loss_mse", "loss_info_nce", "negatives"}
        for name, value in expected.items():
            assert parts[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


def test_first_step_has_no_negatives_and_no_contrast():
    parts = step(make(), make_batch(0))
    assert parts["negatives"].item() == 0
    assert parts["loss_info_nce"].item() == 0
    assert parts["loss"].item() == pytest.approx(0.5 * parts["loss_mse"].item())


def test_a_batch_larger_than_the_queue_trains():
    method = make()
    for seed in range(3):
        parts = step(method, make_batch(seed, size=25))
        assert torch.isfinite(parts["loss"])
    assert int(method.queue.filled) == 11


def test_a_single_patient_leaves_no_negatives_when_excluded():
    method = make()
    for seed in range(3):
        parts = step(method, make_batch(seed, patients=1))
        assert parts["negatives"].item() == 0
        assert torch.isfinite(parts["loss"])
    kept = make(replace(SETTINGS, same_patient="keep"))
    assert [step(kept, make_batch(seed, patients=1))["negatives"].item() for seed in range(3)] == [0, 4, 8]


def test_hidden_axial_pixels_and_hidden_coronal_pixels_are_not_encoded():
    method, batch = make(), make_batch(3)
    features = []
    for _ in range(2):
        twin = copy.deepcopy(method)
        step(twin, batch)
        features.append(twin.queue.keys.clone())
        for images, noise in ((batch.images[0], batch.noise[:, 0]), (batch.images[1], batch.noise[:, 1])):
            for b in range(len(batch)):
                for token in visible_and_hidden(noise[b], 13)[1]:
                    row, column = divmod(token, 5)
                    images[b, 0, 50 * row : 50 * row + 50, 50 * column : 50 * column + 50] = 7.0
    assert torch.equal(features[0], features[1])


def test_reconstruction_uses_the_planes_own_encoder():
    method, batch = make(), make_batch(2)
    train(method, optimizer_of(method), map(make_batch, range(2)))
    for plane, encoder in (("axial", method.encoder), ("coronal", method.momentum_encoder)):
        prediction, hidden = method.reconstruct(batch.images[0], batch.noise[:, 0], plane)
        assert prediction.shape == (4, 25, 2500)
        assert not prediction.requires_grad
        for b in range(4):
            keep, missing = visible_and_hidden(batch.noise[:, 0][b], 13)
            assert hidden[b].tolist() == missing
            kept = torch.tensor([keep])
            with torch.no_grad():
                expected = method.decoder(encoder(batch.images[0][b : b + 1], kept), kept)[0]
            torch.testing.assert_close(prediction[b], expected, rtol=1e-4, atol=1e-5)


def test_symmetric_is_the_mean_of_both_directions():
    settings = replace(SETTINGS, symmetric=True)
    batch = make_batch(0)
    mirrored = ViewBatch(batch.images[::-1], batch.patient, batch.noise.flip(1), batch.attributes)
    one_way = [step(make(), pair) for pair in (batch, mirrored)]
    method = make(settings)
    both = step(method, batch)
    for name in ("loss", "loss_mse"):
        assert both[name].item() == pytest.approx(sum(part[name].item() for part in one_way) / 2, rel=1e-5)
    assert int(method.queue.filled) == 8
    assert method.queue.patients[:8].tolist() == batch.patient.tolist() * 2


@pytest.mark.parametrize(("kind", "kernel"), [("mean", 1), ("cls", 1), ("flatten", 12)])
def test_flattenings_are_unit_vectors_of_what_they_say(kind, kernel):
    method = make(replace(SETTINGS, flattening=kind))
    assert method.flattening.conv.kernel_size == (kernel,)
    tokens = torch.randn(3, 13, 32)
    with torch.no_grad():
        features = method.flattening(tokens)
        weight, bias = method.flattening.conv.weight, method.flattening.conv.bias
        if kind == "mean":
            expected = tokens[:, 1:].mean(1) @ weight[:, :, 0].T + bias
        elif kind == "cls":
            expected = tokens[:, 0] @ weight[:, :, 0].T + bias
        else:
            expected = tokens[:, 1:].transpose(1, 2).flatten(1) @ weight.flatten(1).T + bias
    expected = expected / expected.norm(dim=1, keepdim=True)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-6)


def test_batch_moves_whole():
    moved = make_batch(0).to("meta")
    assert all(tensor.is_meta for tensor in (*moved.images, moved.patient, moved.noise, moved.attributes))
    assert len(moved) == 4
