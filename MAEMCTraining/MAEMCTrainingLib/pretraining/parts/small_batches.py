"""What a user is told whose batches are too small for a method."""

from __future__ import annotations

from MAEMCLib.errors import UsageError
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...engine.batch_norm import SynchronizedBatchNorm, several_processes


def check_whole_batch(samples: int) -> None:
    """Raises UsageError for a batch whose samples cannot be compared with each other."""
    if samples < 2:
        raise UsageError(
            "The batch has one sample, but the method compares the samples of a batch with each other. Choose a batch "
            "of at least 2, much better 32 or more, and data with as many cases.",
            "batch-too-small",
        )


def check_share(samples: int, encoder: nn.Module) -> None:
    """Raises UsageError for a share of one sample and an encoder with batch normalization, which needs several.

    One that is synchronized has those of the other processes.
    """
    together = SynchronizedBatchNorm if several_processes() else ()
    if samples < 2 and any(
        isinstance(module, _BatchNorm) and not isinstance(module, together) for module in encoder.modules()
    ):
        raise UsageError(
            "One sample passes through the encoder at a time, but its batch normalization compares several. Choose a "
            "larger batch, a smaller accumulation, fewer processes, or a vision transformer.",
            "batch-too-small",
        )
