"""Momentum encoders: copies of modules that follow them slowly and are not trained."""

from collections.abc import Sequence

import torch
from torch import nn


@torch.no_grad()
def update_momentum(copies: Sequence[nn.Module], online: Sequence[nn.Module], momentum: float) -> None:
    """theta_k <- m * theta_k + (1 - m) * theta_q (He et al. 2020, equation 2), all tensors in one call.

    Parameters only: the running statistics of batch normalization are the copies' own.
    """
    theirs, ours = ([p for module in modules for p in module.parameters()] for modules in (copies, online))
    torch._foreach_lerp_(theirs, ours, 1 - momentum)
