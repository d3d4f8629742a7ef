"""ModAn-MulSupCon's loss against a double loop in float64, its exact overlaps, what it learns."""

import math
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from MAEMCLib.errors import InputError
from MAEMCLib.networks.configuration import BackboneConfiguration, EncoderConfiguration
from MAEMCTrainingLib.pretraining.method import ViewBatch
from MAEMCTrainingLib.pretraining.methods.modan_mulsupcon import (
    Configuration,
    ModAnMulSupCon,
    overlap,
    weighted_contrast,
)
from MAEMCTrainingLib.pretraining.presets import pretraining_preset
from torch.nn.functional import normalize

from Testing.training.method_steps import trainable

ENCODER = EncoderConfiguration(image_size=16, patch_size=8, width=16, depth=1, heads=2, position="2d")
RESNET = BackboneConfiguration("resnet18", image_size=32, stem="small")
SETTINGS = Configuration(projection_hidden=16, projection_width=8)


def make(settings=SETTINGS, encoder=ENCODER, seed=0) -> ModAnMulSupCon:
    return ModAnMulSupCon(settings, encoder, None, seed)


def make_batch(seed, size=6, side=16, attributes=5) -> ViewBatch:
    """Images of one modality (of two) and one anatomy (of three) each; the first has no attributes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(size, attributes, dtype=torch.bool)
    for row in range(1, size):
        labels[row, int(torch.randint(0, 2, (1,), generator=generator))] = True
        labels[row, 2 + int(torch.randint(0, 3, (1,), generator=generator))] = True
    return ViewBatch(
        images=tuple(torch.randn(size, 1, side, side, generator=generator) for _ in range(2)),
        patient=torch.arange(size),
        noise=torch.zeros(size, 2, 0),
        attributes=labels,
    )


def slow_loss(vectors, labels, settings):
    """Views (2, B, D) and sets of attributes: the printed loss of every view, the number of its positives."""
    rows = [(image, vectors[view, image].double()) for view in range(2) for image in range(len(labels))]
    losses, counts = [], []
    for a, (image, anchor) in enumerate(rows):
        numerator, weights = 0.0, []
        total = sum(math.exp(float(anchor @ z) / settings.temperature) for k, (_, z) in enumerate(rows) if k != a)
        for p, (other, partner) in enumerate(rows):
            if p == a:
                continue
            if other == image:
                weight = Fraction(1)
            elif labels[image] | labels[other]:
                weight = Fraction(len(labels[image] & labels[other]), len(labels[image] | labels[other]))
            else:
                weight = Fraction(0)
            if weight >= Fraction(settings.threshold).limit_denominator(1_000_000):
                weights.append(float(weight))
                numerator += weights[-1] * math.log(math.exp(float(anchor @ partner) / settings.temperature) / total)
        losses.append(-numerator / (len(weights) if settings.normalizer == "count" else sum(weights)))
        counts.append(len(weights))
    return sum(losses) / len(losses), sum(counts) / len(counts)


def sets(labels):
    return [set(torch.nonzero(row).flatten().tolist()) for row in labels]


@pytest.mark.parametrize("normalizer", ["count", "sum"])
@pytest.mark.parametrize("threshold", [0.3, 1 / 3, 0.34, 0.5, 1.0])
def test_the_loss_equals_a_double_loop(threshold, normalizer):
    settings = replace(SETTINGS, threshold=threshold, normalizer=normalizer)
    method, batch = make(settings), make_batch(4, size=12)
    # Beside one modality and one anatomy: several of each, so that overlaps are 1/5, 2/5, 1/2, 2/3 ... too.
    batch.attributes[7:] |= torch.rand(5, 5, generator=torch.Generator().manual_seed(1)) < 0.5
    with torch.no_grad():
        parts, kept = method(batch)
        vectors = torch.stack([method.projection(method.encoder.features(view)) for view in batch.images])
    expected, positives = slow_loss(vectors, sets(batch.attributes), settings)
    assert parts["loss"].item() == pytest.approx(expected, abs=1e-6, rel=1e-6)
    assert parts["positives"].item() == pytest.approx(positives)
    assert parts["without_positive"].item() == 0 and parts["without_attributes"].item() == 1
    assert kept is None


def test_overlaps_are_compared_in_whole_numbers():
    """For every intersection and union up to 40 and the threshold that they make: reached, and not by one less."""
    for union in range(1, 41):
        for intersection in range(1, union + 1):
            anchor = torch.arange(40)[None] < union
            others = torch.stack([torch.arange(40) < intersection, torch.arange(40) < intersection - 1])
            weights = overlap(anchor, others, intersection / union)
            assert (weights > 0).tolist() == [[True, False]]
            assert weights[0, 0].item() == pytest.approx(intersection / union)


def test_with_one_modality_and_one_anatomy_thresholds_up_to_a_third_are_one():
    labels = make_batch(0, size=30).attributes
    reached = {
        threshold: overlap(labels, labels, threshold) > 0 for threshold in (0.01, 0.3, 0.333333, 1 / 3, 0.334, 1)
    }
    weights = overlap(labels, labels, 0.3)
    assert {round(value, 4) for value in weights.flatten().tolist()} == {0.0, 0.3333, 1.0}
    shares_one = (labels[:, None] & labels).any(dim=2)
    for threshold in (0.01, 0.3, 0.333333, 1 / 3):
        assert torch.equal(reached[threshold], shares_one)
    same = (labels[:, None] == labels).all(dim=2) & labels.any(dim=1)
    assert torch.equal(reached[0.334], same) and torch.equal(reached[1], same)


def test_an_image_without_attributes_has_its_own_second_view_alone():
    batch = make_batch(2)
    batch.attributes[:] = False
    parts, _ = make()(batch)
    assert parts["positives"].item() == 1 and parts["without_attributes"].item() == 6
    assert parts["without_positive"].item() == 0
    with torch.no_grad():
        vectors = torch.stack([make().projection(make().encoder.features(view)) for view in batch.images])
    assert parts["loss"].item() == pytest.approx(slow_loss(vectors, [set()] * 6, SETTINGS)[0], rel=1e-6)


def test_an_anchor_without_a_positive_contributes_nothing():
    generator = torch.Generator().manual_seed(0)
    vectors = normalize(torch.randn(4, 8, generator=generator), dim=1)
    anchors, others = vectors.clone().requires_grad_(), vectors.clone()
    weights = torch.zeros(4, 4)
    weights[0, 1] = weights[1, 0] = weights[3, 3] = 0.5  # itself is no positive
    loss, alike, count = weighted_contrast(anchors, others, torch.arange(4), weights, 0.5)
    assert count.tolist() == [1, 1, 0, 0]
    loss.backward()
    assert (anchors.grad.abs().sum(dim=1) > 0).tolist() == [True, True, False, False]
    assert alike.item() == pytest.approx(0.5 * math.log(3) / 2)  # two of four anchors, weights of 0.5, three others
    both, *_ = weighted_contrast(vectors[:2], others, torch.arange(2), weights[:2], 0.5)
    assert loss.item() == pytest.approx(both.item() / 2)
    nothing, *_ = weighted_contrast(vectors, others, torch.arange(4), torch.zeros(4, 4), 0.5)
    assert nothing.item() == 0


def test_the_loss_stays_in_float32_under_autocast():
    vectors = normalize(torch.randn(12, 32, generator=torch.Generator().manual_seed(0)), dim=1)
    weights, own = (torch.arange(12)[:, None] // 3 == torch.arange(12) // 3).float(), torch.arange(12)
    plain = weighted_contrast(vectors, vectors, own, weights, 0.07)[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(plain, weighted_contrast(vectors, vectors, own, weights, 0.07)[0])


def test_the_published_encoder():
    """One channel, a 3 x 3 first convolution of stride 1, the max-pool kept, a head of 512, 512 and 128."""
    run = pretraining_preset("paper", "modan-mulsupcon", "picture")
    method = make(run.settings, run.encoder)
    body = method.encoder.body
    assert (body.conv1.in_channels, body.conv1.kernel_size, body.conv1.stride) == (1, (3, 3), (1, 1))
    assert isinstance(body.maxpool, torch.nn.MaxPool2d)
    shapes = [parameter.shape for parameter in method.projection.parameters()]
    assert shapes == [(512, 512), (512,), (128, 512), (128,)]


def test_features_that_are_alike_have_the_loss_that_is_said():
    method, batch = make(), make_batch(0)
    equal = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(1)).expand(6, -1, -1, -1)
    parts, _ = method(replace(batch, images=(equal, equal)))
    assert parts["loss"].item() == pytest.approx(parts["loss_if_alike"].item(), rel=1e-5)


def test_training_tells_the_attributes_apart():
    """The loss falls below that of features which are all alike, where pulling alone would end."""
    method = make(Configuration(temperature=0.2, projection_hidden=16, projection_width=8))
    optimizer = torch.optim.AdamW([parameter for _, parameter in trainable(method)], lr=3e-3)
    batch = make_batch(0, size=24)
    pictures = torch.randn(5, 1, 16, 16, generator=torch.Generator().manual_seed(9))  # what each attribute looks like
    shown = (batch.attributes.float() @ pictures.flatten(1)).view(-1, 1, 16, 16)
    learned = []
    for step in range(80):
        views = tuple(shown + 0.5 * view for view in make_batch(step, size=24).images)
        optimizer.zero_grad()
        parts, _ = method(replace(batch, images=views))
        parts["loss"].backward()
        optimizer.step()
        learned.append((parts["loss"] - parts["loss_if_alike"]).item())
    assert learned[0] > 0 and sum(learned[-5:]) / 5 < -0.2


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(InputError, match="modality, anatomy"):
        make()(replace(make_batch(0), attributes=torch.zeros(6, 0, dtype=torch.bool)))
