"""SimCLR's step against its equation computed slowly; its projection head."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from MAEMCLib.networks.configuration import BackboneConfiguration, DecoderConfiguration
from MAEMCTrainingLib.pretraining.method import ViewBatch
from MAEMCTrainingLib.pretraining.methods.simclr import Configuration, SimCLR
from MAEMCTrainingLib.pretraining.parts.projection import BatchNorm, Projection

ENCODER = BackboneConfiguration("resnet18", 32)
SETTINGS = Configuration(projection_width=8)


def make(settings=SETTINGS, encoder=ENCODER, seed=0) -> SimCLR:
    return SimCLR(settings, encoder, DecoderConfiguration(), seed)


def make_batch(seed: int, size: int = 6, patients: int = 4, side: int = 32) -> ViewBatch:
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


@pytest.mark.parametrize("changes", [{}, {"same_patient": "keep"}, {"temperature": 0.5}])
def test_loss_equals_the_equation_computed_slowly(changes):
    method, batch = make(replace(SETTINGS, **changes)), make_batch(0)
    settings = method.configuration
    with torch.no_grad():
        features = copy.deepcopy(method).encoder.features(torch.cat(batch.images)).double()
    first, _, second = method.projection.layers
    vectors = []
    for h in features:
        hidden = (first.weight.double() @ h + first.bias).clamp(min=0)
        vector = second.weight.double() @ hidden + second.bias
        vectors.append((vector / vector.norm()).detach())
    total, negatives, size = 0.0, 0, len(batch.patient)
    for i in range(2 * size):
        positive = (i + size) % (2 * size)
        numerator = math.exp(float(vectors[i] @ vectors[positive]) / settings.temperature)
        denominator = numerator
        for k in range(2 * size):
            same = batch.patient[k % size] == batch.patient[i % size] and settings.same_patient == "exclude"
            if k not in (i, positive) and not same:
                denominator += math.exp(float(vectors[i] @ vectors[k]) / settings.temperature)
                negatives += 1
        total -= math.log(numerator / denominator)
    parts, kept = method(batch)
    assert kept is None
    assert set(parts) == {"loss", "negatives"}
    assert parts["loss"].item() == pytest.approx(total / (2 * size), rel=1e-4)
    assert parts["negatives"].item() == pytest.approx(negatives / (2 * size))
    assert not parts["negatives"].requires_grad


def test_projection_in_its_three_forms():
    features = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    for hidden, normalized in ((0, False), (7, False), (7, True)):
        head = Projection(6, hidden, 3, seed=1, normalized=normalized)
        vectors = features
        if hidden:
            vectors = head.layers[0](vectors)
            if normalized:
                vectors = torch.nn.BatchNorm1d(hidden)(vectors)
            vectors = vectors.clamp(min=0)
        vectors = head.layers[-1](vectors)
        torch.testing.assert_close(head(features), vectors / vectors.norm(dim=1, keepdim=True))


def test_batch_normalization_is_torchs():
    ours, torchs = BatchNorm(4), torch.nn.BatchNorm1d(4)
    for module in (ours, torchs):
        torch.nn.init.constant_(module.weight, 1.5)
        torch.nn.init.constant_(module.bias, -0.5)
    features = 3 + 2 * torch.randn(9, 4)
    torch.testing.assert_close(ours(features), torchs(features))
