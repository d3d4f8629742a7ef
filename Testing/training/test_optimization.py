"""Learning rates, layer and weight decay, LARS and clipping, against plain computations."""

import math

import numpy as np
import pytest
import torch
from MAEMCTrainingLib.engine.configuration import Optimization
from MAEMCTrainingLib.engine.optimization import NamedParameter, build_optimizer, layer_scale, learning_rate
from MAEMCTrainingLib.engine.task import clip_gradients
from torch import nn

from Testing.training.small_task import CPU


def test_learning_rates():
    cosine = Optimization(learning_rate=2.0, warmup_fraction=0.1)
    rates = [learning_rate(cosine, step, 100, 10) for step in range(100)]
    np.testing.assert_allclose(rates[:10], 0.2 * np.arange(1, 11))
    np.testing.assert_allclose(rates[10:], 1 + np.cos(np.pi * np.arange(90) / 90))
    drops = Optimization(learning_rate=1.0, schedule="milestones", milestones=(4, 7), warmup_fraction=0.0)
    rates = [learning_rate(drops, step, 100, 10) for step in range(100)]
    np.testing.assert_allclose(rates, [1.0] * 40 + [0.1] * 30 + [0.01] * 30)
    constant = Optimization(learning_rate=0.3, schedule="constant", warmup_fraction=0.0)
    assert {learning_rate(constant, step, 100, 10) for step in range(100)} == {0.3}


def test_layer_decay_and_weight_decay():
    scales = {
        name: layer_scale(name, 3, 0.5)
        for name in (
            "encoder.cls_token",
            "encoder.patch_embed.proj.weight",
            "encoder.blocks.0.attn.qkv.weight",
            "encoder.blocks.2.mlp.fc1.bias",
            "encoder.norm.weight",
            "head.weight",
        )
    }
    assert list(scales.values()) == [0.0625, 0.0625, 0.125, 0.5, 1.0, 1.0]
    module = nn.Linear(3, 2)
    token = nn.Parameter(torch.zeros(1, 1, 3))
    named = [NamedParameter("head.weight", module.weight), NamedParameter("head.bias", module.bias)]
    optimizer = build_optimizer([*named, NamedParameter("cls_token", token, 0.5)], Optimization(weight_decay=0.1), CPU)
    decays = {name: g["weight_decay"] for g in optimizer.param_groups for name in g["names"]}
    assert decays == {"head.weight": 0.1, "head.bias": 0.0, "cls_token": 0.0}


def larc(weight, gradient, buffer, rate, decay):
    """apex's LARC around SGD with momentum 0.9, a number at a time."""
    length, steep = math.sqrt(sum(w * w for w in weight)), math.sqrt(sum(g * g for g in gradient))
    ratio = 0.001 * length / (steep + length * decay + 1e-8) if length and steep else 1.0
    adapted = [(g + decay * w) * ratio for w, g in zip(weight, gradient, strict=True)]
    buffer = adapted if buffer is None else [0.9 * b + a for b, a in zip(buffer, adapted, strict=True)]
    return [w - rate * b for w, b in zip(weight, buffer, strict=True)], buffer


def test_lars_adapts_every_tensor_as_swav_does():
    """Eight steps of a matrix, a bias and a norm at SwAV's rate. Left out, the bias would move 280 times as far."""
    draws = torch.Generator().manual_seed(0)
    shapes = {"layer.weight": (4, 3), "layer.bias": (5,), "norm.weight": (6,)}
    parameters = {name: nn.Parameter(torch.randn(shape, generator=draws)) for name, shape in shapes.items()}
    optimization = Optimization(optimizer="lars", momentum=0.9, learning_rate=0.15, weight_decay=1e-6)
    optimizer = build_optimizer([NamedParameter(*item) for item in parameters.items()], optimization, CPU)
    slow = {name: (p.detach().flatten().tolist(), None) for name, p in parameters.items()}
    bias = parameters["layer.bias"].detach().clone()
    for _ in range(8):
        for name, parameter in parameters.items():
            parameter.grad = torch.randn(parameter.shape, generator=draws)
            weight, buffer = slow[name]
            slow[name] = larc(weight, parameter.grad.flatten().tolist(), buffer, 0.15, 1e-6)
        optimizer.step()
    for name, parameter in parameters.items():
        np.testing.assert_allclose(parameter.detach().flatten(), slow[name][0], rtol=1e-5, atol=1e-7)
    assert (parameters["layer.bias"] - bias).norm() < 0.01


def test_mask_embeddings_are_not_decayed():
    named = [NamedParameter(f"mask_embeddings.{n}", nn.Parameter(torch.zeros(1, 8, 1, 1))) for n in range(4)]
    for optimizer in ("adamw", "lamb"):
        built = build_optimizer(named, Optimization(optimizer=optimizer, weight_decay=0.04), CPU)
        assert [group["weight_decay"] for group in built.param_groups] == [0.0]


@pytest.mark.parametrize("largest", [0.5, 1e6])
def test_gradients_are_clipped_as_torch_clips_them(largest):
    ours, theirs = (nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)) for _ in range(2))
    for seed, (a, b) in enumerate(zip(ours.parameters(), theirs.parameters(), strict=True)):
        a.grad = 5 * torch.randn(a.shape, generator=torch.Generator().manual_seed(seed))
        b.grad = a.grad.clone()
    norm = clip_gradients(list(ours.parameters()), largest)
    assert norm == pytest.approx(nn.utils.clip_grad_norm_(theirs.parameters(), largest).item(), rel=1e-6)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
