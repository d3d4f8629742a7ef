"""Learning rate, weight decay and layer decay: which parameter moves how fast at which step; and how much a case of
each class counts in its loss."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from .configuration import Optimization

_NEVER_DECAYED = re.compile(r"(^|\.)(cls_token|mask_token|pos_embed|mask_embeddings(\.\d+)?)$")


@dataclass(frozen=True)
class NamedParameter:
    """A parameter with its name in the module and its rate relative to the schedule's.

    from_epoch: the first epoch in which it moves.
    """

    name: str
    parameter: nn.Parameter
    scale: float = 1.0
    from_epoch: int = 0


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
    """The optimizer; biases, norms, tokens and mask embeddings are not decayed.

    LARS decays and adapts every tensor, biases and norms too, as SwAV's does (apex LARC, and Less is More's with its
    ``exclude_bn_bias=False``): a bias that is left out moves at the full rate, hundreds of times as far.

    Each group carries its "names", its "scale" and the epoch from which it moves, "from_epoch".
    """
    groups: dict[tuple, dict] = {}
    for named in parameters:
        matrix = named.parameter.ndim > 1 and not _NEVER_DECAYED.search(named.name)
        decayed = matrix or optimization.optimizer == "lars"
        decay = optimization.weight_decay if decayed else 0.0
        facts = {"scale": named.scale, "from_epoch": named.from_epoch, "weight_decay": decay}
        group = groups.setdefault(tuple(facts.values()), {"params": [], "names": [], **facts})
        group["params"].append(named.parameter)
        group["names"].append(named.name)
    parts, rate = list(groups.values()), optimization.learning_rate
    if optimization.optimizer == "sgd":
        return torch.optim.SGD(parts, lr=rate, momentum=optimization.momentum)
    if optimization.optimizer == "adamw":
        # One pass over the memory of weights and moments, where torch has it.
        fused = device.type in ("cpu", "cuda")
        return torch.optim.AdamW(parts, lr=rate, betas=tuple(optimization.betas), fused=fused)
    from timm.optim import Lamb, Lars

    if optimization.optimizer == "lars":
        return Lars(parts, lr=rate, momentum=optimization.momentum, always_adapt=True)
    # The gradient is clipped by the loop, for all optimizers in one way.
    return Lamb(parts, lr=rate, betas=tuple(optimization.betas), max_grad_norm=None)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float, epoch: int) -> None:
    """Give every group its share of the schedule's rate; none to what does not move yet."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"] if epoch >= group["from_epoch"] else 0.0


def class_weights(counts: np.ndarray) -> np.ndarray:
    """Cases of each class (classes,) -> n / (classes * cases) (classes,): every class counts the same, and the mean
    over the cases is 1."""
    return counts.sum() / (len(counts) * counts.astype(float))
