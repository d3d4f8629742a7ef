"""SimCLR's step against its equation computed slowly; its projection head; its resume; what it refuses."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from MAEMCLib.errors import UsageError
from MAEMCLib.networks.configuration import BackboneConfiguration, DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.encoders import build_encoder
from MAEMCTrainingLib.pretraining.configuration import PretrainingConfiguration
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


def optimizer_of(method, rate=1e-3) -> torch.optim.Optimizer:
    return torch.optim.AdamW([parameter for _, parameter in method.trainable()], lr=rate)


def train(method, optimizer, batches) -> list[float]:
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        method.before_step()
        parts, kept = method(batch)
        parts["loss"].backward()
        optimizer.step()
        method.after_step([kept])
        losses.append(parts["loss"].item())
    return losses


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


def test_training_lowers_the_loss():
    method = make(replace(SETTINGS, projection_width=32))
    losses = train(method, optimizer_of(method), [make_batch(number % 2, 12, 1000) for number in range(6)])
    assert sum(losses[-2:]) < 0.3 * sum(losses[:2])


def test_resume_continues_bit_identically():
    straight = make()
    expected = train(straight, optimizer_of(straight), map(make_batch, range(3)))
    first = make()
    optimizer = optimizer_of(first)
    train(first, optimizer, map(make_batch, range(1)))
    second = make(seed=99)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    resumed = optimizer_of(second)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert train(second, resumed, map(make_batch, range(1, 3))) == expected[1:]
    for name, tensor in straight.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_every_encoder_and_its_state_for_fine_tuning():
    for encoder in (ENCODER, EncoderConfiguration(image_size=32, patch_size=8, width=16, depth=1, heads=2)):
        method = make(encoder=encoder)
        method(make_batch(0))[0]["loss"].backward()
        assert all(parameter.grad is not None for _, parameter in method.trainable())
        build_encoder(encoder, 5).load_state_dict(method.encoder_state())


def test_the_seed_alone_decides_the_initial_values():
    torch.manual_seed(1)
    first = make(seed=3).state_dict()
    torch.manual_seed(2)
    assert all(torch.equal(tensor, first[name]) for name, tensor in make(seed=3).state_dict().items())
    assert not torch.equal(make(seed=4).state_dict()["projection.layers.0.weight"], first["projection.layers.0.weight"])


def test_a_batch_of_one_sample_is_refused():
    with pytest.raises(UsageError, match="one sample"):
        make()(make_batch(0, size=1))


@pytest.mark.parametrize("changes", [{"temperature": 0.0}, {"projection_width": 0}, {"same_patient": "maybe"}])
def test_impossible_settings_are_refused(changes):
    with pytest.raises(UsageError, match=next(iter(changes))):
        Configuration(**changes)


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


def test_presets():
    base = PretrainingConfiguration("simclr", Configuration(), ENCODER, DecoderConfiguration())
    paper = SimCLR.preset("paper", base)
    optimization = paper.optimization
    assert (paper.batch, paper.epochs, paper.settings.temperature) == (256, 1000, 0.1)
    assert (optimization.optimizer, optimization.learning_rate, optimization.momentum) == ("sgd", 0.05, 0.9)
    for name in ("tiny", "default"):
        assert SimCLR.preset(name, base).settings == base.settings
