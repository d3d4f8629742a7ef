"""Batch normalization of a batch that passes in parts: over several processes, and in shares one after another.

Over processes the parts are normalized together, by the mean and the variance of all their values, and each process
keeps the same running statistics. Shares that pass one after another cannot be: the statistics of each are its own, and
the running ones move once a batch, to the mean of its shares'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


def several_processes() -> bool:
    """Whether other processes train along with this one."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def batch_norms(module: nn.Module) -> Iterator[_BatchNorm]:
    """All layers of a network that normalize by batch and keep running statistics."""
    return (layer for layer in module.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats)


class SynchronizedBatchNorm(_BatchNorm):
    """A batch normalization (B, C, ...) over the parts of all processes, however many values each brings.

    On processors its output has the same bits with any number of processes, one included. torch's own SyncBatchNorm
    refuses processors. Parameters, buffers and their names are those of the layer that it replaces. All processes have
    to pass it in the same order.
    """

    @classmethod
    def like(cls, layer: _BatchNorm) -> SynchronizedBatchNorm:
        """The layer's parameters and buffers themselves, not copies."""
        made = cls(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
        made.weight, made.bias = layer.weight, layer.bias
        made.running_mean, made.running_var = layer.running_mean, layer.running_var
        made.num_batches_tracked = layer.num_batches_tracked
        return made.train(layer.training)

    def _check_input_dim(self, values: Tensor) -> None:
        """Any number of dimensions from two on."""

    def forward(self, values: Tensor) -> Tensor:
        if not self.training:
            return super().forward(values)
        normalized, mean, variance, count = normalized_together(values, self.weight, self.bias, self.eps)
        if self.track_running_stats:
            with torch.no_grad():
                unbiased = variance * (count / (count - 1).clamp(min=1))
                momentum = (self.momentum * (count > 0)).to(self.running_mean)  # without any value nothing moves
                self.running_mean.lerp_(mean.to(self.running_mean), momentum)
                self.running_var.lerp_(unbiased.to(self.running_var), momentum)
                self.num_batches_tracked += 1
        return normalized


def normalized_together(
    values: Tensor, weight: Tensor, bias: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Values (B, C, ...) of all processes normalized by channel; this process's part of them, in their own type.

    Also the mean and the variance (C,), of all processes and without gradient, and how many values a channel has.
    """
    return _Normalize.apply(values, weight, bias, epsilon)


class _Normalize(torch.autograd.Function):
    """(x - mean) / sqrt(variance + epsilon) * weight + bias, with the moments and the gradient of all processes.

    The gradients of weight and bias are this process's part: DistributedDataParallel adds them up.
    """

    @staticmethod
    def forward(
        context: Any, values: Tensor, weight: Tensor, bias: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rows = values.to(torch.promote_types(values.dtype, torch.float32))
        shape = [1, -1, *[1] * (values.ndim - 2)]
        count = rows.new_tensor([rows.numel() // rows.shape[1]], dtype=torch.float64)
        sums = _total(torch.cat([_sums(rows), count]))
        count = sums[-1].clamp(min=1)
        mean = sums[:-1] / count
        center = mean.to(rows.dtype)
        away = rows - center.view(shape)
        variance = _total(_sums(away.square())) / count - (mean - center).square()
        inverse = (variance + epsilon).rsqrt().to(rows.dtype)
        normalized = away.mul_((inverse * weight).view(shape)).add_(bias.view(shape))
        context.save_for_backward(values, weight, center, inverse, count)
        context.mark_non_differentiable(mean, variance, count)
        return normalized.to(values.dtype), mean, variance, sums[-1]

    @staticmethod
    def backward(context: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        values, weight, center, inverse, count = context.saved_tensors
        shape, places = [1, -1, *[1] * (values.ndim - 2)], [0, *range(2, values.ndim)]
        slope = gradient.to(inverse.dtype)
        standardized = (values.to(inverse.dtype) - center.view(shape)) * inverse.view(shape)
        sums = torch.stack([slope.sum(places), (slope * standardized).sum(places)])
        of_bias, of_weight = sums.clone()
        through_mean, through_deviation = (_total(sums) / count).to(inverse.dtype)
        slope = slope - through_mean.view(shape) - standardized * through_deviation.view(shape)
        of_values = slope * (inverse * weight).view(shape)
        return of_values.to(values.dtype), of_weight.to(weight.dtype), of_bias.to(weight.dtype), None


def _sums(rows: Tensor) -> Tensor:
    """(B, C, ...) -> (C,) float64: each sample by itself, then all samples in double precision.

    So that the bits of the statistics, and of what follows, do not depend on how a batch is divided. In SparK's decoder
    rounding errors grow a thousandfold, and an activation that they push across zero changes the gradient by 0.001.
    """
    return (rows.flatten(2).sum(dim=2) if rows.ndim > 2 else rows).double().sum(dim=0)


def _total(sums: Tensor) -> Tensor:
    """Added up over processes, in place."""
    if several_processes():
        distributed.all_reduce(sums)
    return sums


def synchronize(module: nn.Module) -> None:
    """Let a network's batch normalizations see the parts of all processes, in place.

    Copies that the optimizer does not train keep the statistics of their process (MoCo's momentum encoder, whose keys
    are to be normalized apart).
    """
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            plain = isinstance(layer, _BatchNorm) and not isinstance(layer, SynchronizedBatchNorm)
            if plain and any(parameter.requires_grad for parameter in layer.parameters()):
                setattr(parent, name, SynchronizedBatchNorm.like(layer))


@torch.no_grad()
def average_running_statistics(module: nn.Module) -> None:
    """Give the running statistics of layers that normalize apart the mean over processes: one model is saved."""
    if not several_processes():
        return
    own = [
        statistic
        for layer in batch_norms(module)
        if not isinstance(layer, SynchronizedBatchNorm)
        for statistic in (layer.running_mean, layer.running_var)
    ]
    if not own:
        return
    together = torch.cat([statistic.flatten() for statistic in own])
    distributed.all_reduce(together)
    together /= distributed.get_world_size()
    for statistic, mean in zip(own, together.split([len(statistic) for statistic in own]), strict=True):
        statistic.copy_(mean)


class RunningStatistics:
    """The running means and variances of a network, which move once a batch however many shares it passes in."""

    def __init__(self, module: nn.Module) -> None:
        self.layers = list(batch_norms(module))
        self.momenta = [layer.momentum for layer in self.layers]
        self._before: list[Tensor] = []

    @property
    def _buffers(self) -> Sequence[Tensor]:
        return [
            buffer
            for layer in self.layers
            for buffer in (layer.running_mean, layer.running_var, layer.num_batches_tracked)
        ]

    def remember(self) -> None:
        """Keep them as they are, for ``restore``."""
        self._before = [buffer.clone() for buffer in self._buffers]

    @torch.no_grad()
    def restore(self) -> None:
        """Undo the shares that have passed since ``remember``: a batch that begins again is not counted twice."""
        for buffer, before in zip(self._buffers, self._before, strict=True):
            buffer.copy_(before)

    def share(self, number: int, shares: int) -> None:
        """Called before each of a batch's shares, 0 ... shares - 1.

        A batch moves them by its momentum m, each of its shares by m / shares. A share that others follow fades with
        them, so that its own momentum is larger by that.
        """
        for layer, momentum in zip(self.layers, self.momenta, strict=True):
            after = momentum * (shares - number - 1) / shares
            layer.momentum = momentum / shares / (1 - after)
