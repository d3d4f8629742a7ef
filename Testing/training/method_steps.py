"""Training a pre-training method step by step without a job, for the tests of methods."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from MAEMCTrainingLib.pretraining.method import Method, ViewBatch
from torch.nn import functional


def make_views(
    seed: int, size: int, side: int = 32, views: int = 2, small: int = 0, cells: int = 0, classes: int = 0
) -> ViewBatch:
    """Views of smooth pictures of as many patients: each large one with its own gain and noise, small ones cut out of
    them. classes: of which each sample has one, as its attribute."""
    draws = torch.Generator().manual_seed(seed)
    smooth = functional.interpolate(torch.randn(size, 1, 4, 4, generator=draws), size=side, mode="bilinear")
    gains = [1 + 0.2 * torch.rand(size, 1, 1, 1, generator=draws) for _ in range(views)]
    images = [smooth * gain + 0.2 * torch.randn(size, 1, side, side, generator=draws) for gain in gains]
    corners = torch.randint(0, side // 2, (small, 2), generator=draws).tolist()
    images += [smooth[:, :, top : top + side // 2, left : left + side // 2] for top, left in corners]
    labels = functional.one_hot(torch.arange(size) % classes, classes) if classes else torch.zeros(size, 0)
    return ViewBatch(tuple(images), torch.arange(size), torch.rand(size, 2, cells, generator=draws), labels.bool())


def trainable(method: Method) -> list[tuple[str, torch.nn.Parameter]]:
    """Names and parameters that the optimizer trains."""
    return [(name, parameter) for name, parameter in method.named_parameters() if parameter.requires_grad]


def optimizer_of(method: Method, rate: float = 1e-3) -> torch.optim.Optimizer:
    """An optimizer of what the method lets train."""
    return torch.optim.AdamW([parameter for _, parameter in trainable(method)], lr=rate)


def train(method: Method, optimizer: torch.optim.Optimizer, batches: Iterable[ViewBatch]) -> list[dict[str, float]]:
    """A step a batch, in the loop's order of events; what the method says of each."""
    log = []
    for batch in batches:
        optimizer.zero_grad()
        method.before_step()
        figures, kept = method(batch)
        figures["loss"].backward()
        for parameter in method.unmoved():
            parameter.grad = None
        optimizer.step()
        method.after_step([kept])
        log.append({name: value.item() for name, value in figures.items()})
    return log


def resumed(method: Method, optimizer: torch.optim.Optimizer, fresh: Method) -> tuple[Method, torch.optim.Optimizer]:
    """``fresh`` with all that a checkpoint of the method holds, and an optimizer that goes on with it."""
    fresh.load_state_dict(copy.deepcopy(method.state_dict()))
    other = optimizer_of(fresh)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    return fresh, other
