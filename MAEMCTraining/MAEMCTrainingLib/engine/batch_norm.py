"""Batch normalization of a batch that passes in parts: over several processes, and in micro-batches.

Over processes the parts are normalized together, by the mean and the variance of all their values, and each process
keeps the same running statistics. Micro-batches pass one after another and cannot be: the statistics of each are its
own, and the running ones move once a batch, to the mean of its micro-batches'.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from MAEMCLib.errors import UsageError
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
    refuses processors. All processes have to pass it in the same order.
    """

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


class _Normalize(torch.autograd.Function):
    """(x - mean) / sqrt(variance + epsilon) * weight + bias, with the moments and the gradient of all processes.

    Of values (B, C, ...), weight and bias (C,). Gives this process's part in its own type and, without gradient, the
    mean and the variance (C,) of all processes and how many values a channel has.

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


normalized_together = _Normalize.apply


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

    The layers change their class alone: parameters, buffers and hooks stay. Copies that the optimizer does not train
    keep the statistics of their process (MoCo's momentum encoder, whose keys are to be normalized apart).
    """
    for layer in module.modules():
        if isinstance(layer, _BatchNorm) and any(parameter.requires_grad for parameter in layer.parameters()):
            layer.__class__ = SynchronizedBatchNorm


def check_micro_batch(samples: int, encoder: nn.Module) -> None:
    """Raises UsageError for a micro-batch of one sample and an encoder with batch normalization, which needs several.

    One that is synchronized has those of the other processes.
    """
    together = SynchronizedBatchNorm if several_processes() else ()
    if samples < 2 and not all(isinstance(layer, together) for layer in batch_norms(encoder)):
        raise UsageError(
            "One sample passes through the encoder at a time, but its batch normalization compares several. Choose a "
            "larger batch, a smaller accumulation, fewer processes, or a vision transformer.",
            "batch-too-small",
        )


@torch.no_grad()
def average_running_statistics(module: nn.Module) -> None:
    """Give the running statistics of layers that normalize apart the mean over processes: one model is saved."""
    apart = [layer for layer in batch_norms(module) if not isinstance(layer, SynchronizedBatchNorm)]
    if not (several_processes() and apart):
        return
    own = [statistic for layer in apart for statistic in (layer.running_mean, layer.running_var)]
    together = torch.cat(own)
    distributed.all_reduce(together)
    together /= distributed.get_world_size()
    for statistic, mean in zip(own, together.split([len(statistic) for statistic in own]), strict=True):
        statistic.copy_(mean)


def set_momenta(momenta: Mapping[_BatchNorm, float], number: int, count: int) -> None:
    """Called before each of a batch's micro-batches, 0 ... count - 1: the running means and variances are to move once
    a batch, however many it passes in.

    momenta: of a batch. It moves them by its momentum m, each of its micro-batches by m / count. One that others follow
    fades with them, so that its own momentum is larger by that.
    """
    for layer, momentum in momenta.items():
        after = momentum * (count - number - 1) / count
        layer.momentum = momentum / count / (1 - after)
