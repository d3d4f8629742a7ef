"""The rows of all processes, for losses that compare the samples of a whole batch with each other."""

from typing import Any

import torch
from torch import Tensor, distributed

from ...engine.batch_norm import several_processes


def rows_of_all(rows: Tensor) -> tuple[Tensor, slice]:
    """Rows (B, ...) of every process in the order of their ranks, however many each brings, and which of them are ours.

    The gradient of every process's loss returns to the process that a row came from. Where each process's loss is the
    mean over its own samples, weighted by their number (``engine.task``), the sum is the gradient of one process that
    sees the whole batch. All processes have to call this in the same order. In one process: the rows as they are.
    """
    if not several_processes():
        return rows, slice(0, len(rows))
    counts = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(distributed.get_world_size())]
    distributed.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    counts = [int(count) for count in counts]
    first = sum(counts[: distributed.get_rank()])
    mine = slice(first, first + len(rows))
    return _RowsOfAll.apply(rows, counts, mine), mine


class _RowsOfAll(torch.autograd.Function):
    """Forward: all rows. Backward: the gradients of all processes added up, of which each takes its own rows'."""

    @staticmethod
    def forward(context: Any, rows: Tensor, counts: list[int], mine: slice) -> Tensor:
        context.mine = mine
        padded = rows.new_zeros((max(counts), *rows.shape[1:]))  # gathering needs equal shapes
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(gradient)
        return gradient[context.mine], None, None
