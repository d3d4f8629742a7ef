"""The head that pre-training puts on an encoder's features, and drops afterwards."""

from itertools import pairwise

import torch
from MAEMCLib.networks.vit import Linear, initialize
from torch import Tensor, nn
from torch.nn import functional

from ...engine.batch_norm import normalized_together

_EPSILON = 1e-5


class BatchNorm(nn.Module):
    """Batch normalization of features (B, W) over the samples of all processes, always with the batch's own statistics.

    A head is only used while it is trained, so that no running statistics are kept.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return normalized_together(features.float(), self.weight, self.bias, _EPSILON)[0]


class Projection(nn.Module):
    """Features (B, width) to unit vectors (B, output) in float32.

    hidden: the width of the one hidden layer, followed by a ReLU; 0: a linear projection. normalized: batch
    normalization between the hidden layer and its ReLU.
    """

    def __init__(self, width: int, hidden: int, output: int, seed: int, normalized: bool = False) -> None:
        super().__init__()
        widths = (width, hidden, output) if hidden else (width, output)
        linear = nn.ModuleList(Linear(*pair) for pair in pairwise(widths))
        initialize(linear, seed)
        between = [*([BatchNorm(hidden)] if normalized else []), nn.ReLU()] if hidden else []
        self.layers = nn.Sequential(*linear[:-1], *between, linear[-1])

    def forward(self, features: Tensor) -> Tensor:
        return functional.normalize(self.layers(features).float(), dim=1)
