"""SwAV's assignments and loss against slow loops and lightly; frozen prototypes, the queue, sides of small views."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from lightly.loss import SwaVLoss
from MAEMCLib.networks.configuration import BackboneConfiguration, DecoderConfiguration, EncoderConfiguration
from MAEMCTrainingLib.pretraining.method import ViewBatch
from MAEMCTrainingLib.pretraining.methods.swav import Configuration, SwAV, sinkhorn, swapped_prediction

from Testing.training.method_steps import train, trainable

RESNET = BackboneConfiguration("resnet18", 32)
VIT = EncoderConfiguration(image_size=32, patch_size=8, width=16, depth=1, heads=2)
SETTINGS = Configuration(prototypes=5, projection_width=8, frozen_steps=0)


def make(settings=SETTINGS, encoder=VIT, seed=0) -> SwAV:
    return SwAV(settings, encoder, DecoderConfiguration(), seed)


def make_batch(seed: int, size: int = 6, small: int = 3, side: int = 32) -> ViewBatch:
    """Views of smooth pictures: two large ones and small pieces of them."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randn(size, 1, 3, 3, generator=generator)
    smooth = torch.nn.functional.interpolate(pictures, size=side, mode="bilinear")
    large = [smooth + 0.2 * torch.randn(size, 1, side, side, generator=generator) for _ in range(2)]
    corners = torch.randint(0, side // 2, (small, 2), generator=generator).tolist()
    pieces = [smooth[:, :, top : top + side // 2, left : left + side // 2] for top, left in corners]
    return ViewBatch(
        images=(*large, *pieces),
        patient=torch.arange(size),
        noise=torch.zeros(size, 2, 0),
        attributes=torch.zeros(size, 0, dtype=torch.bool),
    )


def optimizer_of(method, rate=1e-3) -> torch.optim.Optimizer:
    return torch.optim.AdamW([parameter for _, parameter in trainable(method)], lr=rate, weight_decay=0.05)


def slow_sinkhorn(scores, epsilon, iterations):
    """Section 3.1 on numbers in float64, entry by entry: columns to 1 / K, rows to 1 / B, in turn."""
    rows, columns = scores.shape
    mass = [[math.exp(float(scores[b, k]) / epsilon) for k in range(columns)] for b in range(rows)]
    for _ in range(iterations):
        for k in range(columns):
            total = sum(mass[b][k] for b in range(rows))
            for b in range(rows):
                mass[b][k] /= total * columns
        for b in range(rows):
            total = sum(mass[b])
            for k in range(columns):
                mass[b][k] /= total * rows
    return np.array(mass) * rows


@pytest.mark.parametrize("epsilon", [0.05, 0.5])
@pytest.mark.parametrize(("rows", "columns"), [(8, 5), (4, 12), (2, 2)])
def test_sinkhorn_equals_a_slow_loop(rows, columns, epsilon):
    scores = 2 * torch.rand(rows, columns, generator=torch.Generator().manual_seed(rows)) - 1
    for iterations in (1, 3):
        shares = sinkhorn(scores, epsilon, iterations)
        assert shares.dtype == torch.float32
        np.testing.assert_allclose(shares, slow_sinkhorn(scores, epsilon, iterations), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(shares.sum(dim=1), 1, rtol=1e-5)
    balanced = sinkhorn(scores, 0.5, 200)
    np.testing.assert_allclose(balanced.sum(dim=0), rows / columns, rtol=1e-3)


def test_sinkhorn_stays_finite_and_in_float32():
    scores = 2 * torch.rand(6, 9, generator=torch.Generator().manual_seed(0)) - 1
    shares = sinkhorn(scores, 1e-3, 3)  # exp(1 / 0.001) does not exist in float32
    assert torch.isfinite(shares).all()
    np.testing.assert_allclose(shares.sum(dim=1), 1, rtol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sinkhorn(scores, 0.05, 3), sinkhorn(scores, 0.05, 3).float())
    assert torch.equal(sinkhorn(scores.bfloat16(), 0.05, 3), sinkhorn(scores.bfloat16().float(), 0.05, 3))
    # All samples alike, as in the worst collapse: still every prototype gets its share.
    np.testing.assert_allclose(sinkhorn(scores[:1].expand(6, 9), 0.05, 3), 1 / 9, rtol=1e-4)


@pytest.mark.parametrize("small", [0, 3])
def test_loss_equals_slow_loops_and_lightly(small):
    generator = torch.Generator().manual_seed(small)
    scores = [2 * torch.rand(6, 5, generator=generator) - 1 for _ in range(2 + small)]
    assignments = [sinkhorn(view, 0.05, 3) for view in scores[:2]]
    total, terms = 0.0, 0
    for own in range(2):
        for view in range(2 + small):
            if view == own:
                continue
            for b in range(6):
                norm = sum(math.exp(float(value) / 0.1) for value in scores[view][b])
                for k in range(5):
                    probability = math.exp(float(scores[view][b, k]) / 0.1) / norm
                    total -= float(assignments[own][b, k]) * math.log(probability)
            terms += 6
    loss = swapped_prediction(scores, assignments, 0.1).item()
    assert loss == pytest.approx(total / terms, rel=1e-5)
    assert loss == pytest.approx(SwaVLoss()(scores[:2], scores[2:]).item(), rel=1e-4)


@pytest.mark.parametrize("queue_size", [0, 7])
def test_steps_equal_the_equations_computed_slowly(queue_size):
    method = make(replace(SETTINGS, queue_size=queue_size))
    optimizer = optimizer_of(method)
    earlier: list[list[torch.Tensor]] = [[], []]
    for seed in range(4):  # 6 features a step: from the third step on the queue of 7 is full
        batch, twin = make_batch(seed), copy.deepcopy(method)
        with torch.no_grad():
            prototypes = torch.stack([p / p.norm() for p in twin.prototypes])
            views = [
                torch.nn.functional.interpolate(view, size=32, mode="bilinear", antialias=True)
                if view.shape[-1] < 32
                else view
                for view in batch.images
            ]
            vectors = twin.projection(twin.encoder.features(torch.cat(views))).split(6)
            scores = [view @ prototypes.T for view in vectors]
            assignments = []
            for view in range(2):
                kept = earlier[view][-queue_size:] if queue_size else []
                kept = kept if len(kept) == queue_size else []
                pool = torch.stack([*vectors[view], *kept]) @ prototypes.T
                assignments.append(torch.from_numpy(slow_sinkhorn(pool, 0.05, 3))[:6])
                earlier[view] += list(vectors[view])
            expected = swapped_prediction(scores, assignments, 0.1).item()
        assert train(method, optimizer, [batch])[0]["loss"] == pytest.approx(expected, rel=1e-3)
    assert [int(queue.filled) for queue in method.queues] == ([7, 7] if queue_size else [])


def test_prototypes_wait_then_learn_and_stay_of_length_one():
    method = make(replace(SETTINGS, frozen_steps=2))
    optimizer = optimizer_of(method, 1e-2)
    start = method.prototypes.detach().clone()
    torch.testing.assert_close(start.norm(dim=1), torch.ones(5))
    for seed in range(2):
        train(method, optimizer, [make_batch(seed)])
        assert method.prototypes.grad is None and method.prototypes not in optimizer.state
    assert int(method.steps) == 2
    method.before_step()  # what is left of weight decay
    torch.testing.assert_close(method.prototypes.detach(), start, rtol=0, atol=1e-6)
    train(method, optimizer, [make_batch(2)])
    assert optimizer.state[method.prototypes]["step"] == 1  # its first step is a whole one
    method.before_step()
    assert (method.prototypes - start).abs().max() > 1e-3
    torch.testing.assert_close(method.prototypes.norm(dim=1), torch.ones(5))


def test_only_the_first_two_views_are_assigned_and_nothing_flows_through_assignments():
    method, batch = make(), make_batch(0)
    features = method.projection(method._encode(batch.images))
    large = torch.stack(features[:12].split(6), dim=1)
    assert not any(assignment.requires_grad for assignment in method._assign(large))
    (parts, (kept, patient)) = method(batch)
    torch.testing.assert_close(kept, large)
    assert not kept.requires_grad and torch.equal(patient, batch.patient)
    assert 1 <= parts["prototypes_used"].item() <= 5


@pytest.mark.parametrize(
    ("encoder", "sides"),
    [
        (BackboneConfiguration("resnet18", 80), [80, 40]),
        (BackboneConfiguration("convnextv2-atto", 96), [96, 64]),  # 48 lies between 32 and 64, of which 64 shows more
        (BackboneConfiguration("deit", 32), [32]),
        (VIT, [32]),
    ],
    ids=["resnet", "convnext", "deit", "vit"],
)
def test_small_views_pass_at_a_side_that_the_encoder_takes(encoder, sides, monkeypatch):
    method, seen = make(encoder=encoder), []
    features = method.encoder.features
    monkeypatch.setattr(method.encoder, "features", lambda views: seen.append(views.shape[-1]) or features(views))
    parts, _ = method(make_batch(0, size=2, side=encoder.image_size))
    assert seen == sides and torch.isfinite(parts["loss"])
