"""MoCo's steps against its equations computed slowly; the momentum copy and its statistics."""

import copy
import math

import pytest
import torch
from lightly.loss import NTXentLoss
from MAEMCLib.networks.configuration import BackboneConfiguration, DecoderConfiguration, EncoderConfiguration
from MAEMCTrainingLib.pretraining.method import ViewBatch
from MAEMCTrainingLib.pretraining.methods.moco import MoCoV1, MoCoV2
from MAEMCTrainingLib.pretraining.registry import default_settings

from Testing.training.method_steps import train, trainable

RESNET = BackboneConfiguration("resnet18", 32)
VIT = EncoderConfiguration(image_size=32, patch_size=8, width=16, depth=1, heads=2)
SMALL = {"queue_size": 11, "projection_width": 8}


def make(kind=MoCoV2, encoder=RESNET, seed=0, **changes):
    return kind(kind.Configuration(**(SMALL | changes)), encoder, DecoderConfiguration(), seed)


def make_batch(seed: int, size: int = 4, patients: int = 3, side: int = 32) -> ViewBatch:
    """Two views of smooth pictures: each with its own noise and gain."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randn(size, 1, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(pictures, size=side, mode="bilinear")
    views = [
        smooth * (1 + 0.2 * torch.rand(size, 1, 1, 1, generator=generator))
        + 0.3 * torch.randn(size, 1, side, side, generator=generator)
        for _ in range(2)
    ]
    return ViewBatch(
        images=tuple(views),
        patient=torch.randint(0, patients, (size,), generator=generator),
        noise=torch.zeros(size, 2, 0),
        attributes=torch.zeros(size, 0, dtype=torch.bool),
    )


def optimizer_of(method) -> torch.optim.Optimizer:
    return torch.optim.SGD([parameter for _, parameter in trainable(method)], lr=0.03, momentum=0.9)


def slow_projection(head, features):
    """What the head makes of (B, W), one sample at a time in float64."""
    vectors = []
    for vector in features.double():
        for number, layer in enumerate(layer for layer in head.layers if hasattr(layer, "weight")):
            if number:
                vector = vector.clamp(min=0)
            vector = layer.weight.double() @ vector + layer.bias.double()
        vectors.append(vector / vector.norm())
    return vectors


@pytest.mark.parametrize(
    ("kind", "encoder", "changes"),
    [(MoCoV1, VIT, {}), (MoCoV2, RESNET, {}), (MoCoV2, VIT, {"same_patient": "keep", "momentum": 0.5})],
)
def test_steps_equal_the_equations_computed_slowly(kind, encoder, changes):
    method = make(kind, encoder, **changes)
    settings, optimizer = method.configuration, optimizer_of(method)
    stored: list[tuple[torch.Tensor, int]] = []
    for seed in range(5):  # 20 keys pass a queue of 11: empty, partly filled, wrapped
        batch, twin = make_batch(seed), copy.deepcopy(method)
        with torch.no_grad():
            online, copies = dict(twin.encoder.named_parameters()), dict(twin.momentum_encoder.named_parameters())
            for name, value in copies.items():
                value.copy_(settings.momentum * value + (1 - settings.momentum) * online[name])
            for one, other in zip(twin.projection.parameters(), twin.momentum_projection.parameters(), strict=True):
                other.copy_(settings.momentum * other + (1 - settings.momentum) * one)
            queries = slow_projection(twin.projection, twin.encoder.features(batch.images[0]))
            keys = slow_projection(twin.momentum_projection, twin.momentum_encoder.features(batch.images[1]))
        losses, negatives = [], []
        for query, key, own in zip(queries, keys, batch.patient.tolist(), strict=True):
            positive = math.exp(float(query @ key) / settings.temperature)
            used = [k for k, patient in stored if settings.same_patient == "keep" or patient != own]
            total = positive + sum(math.exp(float(query @ k) / settings.temperature) for k in used)
            losses.append(-math.log(positive / total))
            negatives.append(len(used))
        stored = (stored + list(zip(keys, batch.patient.tolist(), strict=True)))[-11:]
        parts = train(method, optimizer, [batch])[0]
        assert parts["loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-3, abs=1e-6)
        assert parts["negatives"] == pytest.approx(sum(negatives) / len(negatives))


def test_a_full_queue_gives_lightlys_loss():
    method = make(encoder=VIT, same_patient="keep")
    train(method, optimizer_of(method), map(make_batch, range(3)))
    batch = make_batch(3)
    oracle = NTXentLoss(temperature=0.2, memory_bank_size=(11, 8))
    oracle.memory_bank.bank.copy_(method.queue.keys)
    with torch.no_grad():
        query = method.projection(method.encoder.features(batch.images[0]))
        key = method.momentum_projection(method.momentum_encoder.features(batch.images[1]))
        assert method(batch)[0]["loss"].item() == pytest.approx(oracle(query, key).item(), rel=1e-5)


def test_the_versions_differ_as_published():
    first, second = default_settings("moco-v1"), default_settings("moco-v2")
    assert (first.temperature, second.temperature) == (0.07, 0.2)
    assert first.momentum == second.momentum == 0.999
    assert [parameter.shape for parameter in make(MoCoV1).projection.parameters()] == [(8, 512), (8,)]
    shapes = [tuple(parameter.shape) for parameter in make(MoCoV2).projection.parameters()]
    assert shapes == [(512, 512), (512,), (8, 512), (8,)]


def test_the_momentum_copy_learns_nothing_and_keeps_its_own_statistics():
    method = make()
    start = copy.deepcopy(method)
    for name, tensor in method.encoder.state_dict().items():
        assert torch.equal(tensor, method.momentum_encoder.state_dict()[name]), name
    batch = make_batch(0)
    for _ in range(2):  # the second step has negatives, hence a gradient
        method.before_step()
        parts, kept = method(batch)
        parts["loss"].backward()
        method.after_step([kept])
    for name, parameter in method.named_parameters():
        assert (parameter.grad is None) == name.startswith("momentum_"), name
    assert not any(name.startswith("momentum_") for name, _ in trainable(method))
    # The copy's running statistics are those of the keys' images, as if it alone had seen them.
    alone = start.momentum_encoder
    with torch.no_grad():
        for _ in range(2):
            alone.features(batch.images[1])
    for (name, expected), (_, value) in zip(
        alone.named_buffers(), method.momentum_encoder.named_buffers(), strict=True
    ):
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6, msg=name)
    assert int(method.momentum_encoder.body.bn1.num_batches_tracked) == 2


def test_a_batch_larger_than_the_queue_trains():
    method = make(encoder=VIT)
    log = train(method, optimizer_of(method), [make_batch(seed, size=25) for seed in range(2)])
    assert int(method.queue.filled) == 11 and all(math.isfinite(entry["loss"]) for entry in log)
