"""Learning rate, weight decay and layer decay: which parameter moves how fast at which step."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from .configuration import Optimization

_NEVER_DECAYED = ("cls_token", "mask_token", "pos_embed")


@dataclass(frozen=True)
class NamedParameter:
    """A parameter with its name in the module and its rate relative to the schedule's."""

    name: str
    parameter: nn.Parameter
    scale: float = 1.0


def learning_rate(optimization: Optimization, step: int, steps: int, steps_per_epoch: int) -> float:
    """The rate of the step 0 ... steps - 1.

    Linear warm-up from the first step on (never zero), then a half cosine to zero over the remaining steps, or the
    constant rate, or the constant rate that falls tenfold after each milestone's epoch.
    """
    peak = optimization.learning_rate
    warmup = round(optimization.warmup_fraction * steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    if optimization.schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
    if optimization.schedule == "milestones":
        return peak * 0.1 ** sum(step // steps_per_epoch >= milestone for milestone in optimization.milestones)
    return peak


def layer_scale(name: str, depth: int, decay: float) -> float:
    """The relative rate of an encoder parameter under layer decay.

    The head and the final norm have 1, the last block decay, each block below it once more, and the embedding, below
    the first block, decay ** (depth + 1).
    """
    block = re.search(r"\bblocks\.(\d+)\.", name)
    if block:
        return decay ** (depth - int(block.group(1)))
    if re.search(r"\b(cls_token|pos_embed|patch_embed)\b", name):
        return decay ** (depth + 1)
    return 1.0


def build_optimizer(
    parameters: Iterable[NamedParameter], optimization: Optimization, device: torch.device
) -> torch.optim.Optimizer:
    """AdamW; biases, norms and tokens are not decayed. Each group carries its "names" and "scale"."""
    groups: dict[tuple[float, float], dict] = {}
    for named in parameters:
        decayed = named.parameter.ndim > 1 and not named.name.endswith(_NEVER_DECAYED)
        decay = optimization.weight_decay if decayed else 0.0
        group = groups.setdefault(
            (named.scale, decay), {"params": [], "names": [], "scale": named.scale, "weight_decay": decay}
        )
        group["params"].append(named.parameter)
        group["names"].append(named.name)
    # One pass over the memory of weights and moments, where torch has it.
    fused = device.type in ("cpu", "cuda")
    return torch.optim.AdamW(
        list(groups.values()), lr=optimization.learning_rate, betas=tuple(optimization.betas), fused=fused
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of the schedule's rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
