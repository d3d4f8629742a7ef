"""Montage <-> patch vectors, and which patches a masked encoder sees. All counts are exact."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from ..errors import UsageError


def masked_count(tokens: int, ratio: float) -> int:
    """Number of masked patches: ``floor(tokens * ratio + 1/2)`` in exact arithmetic.

    The ratio is taken as the decimal that the user meant, to six digits. In binary floating point 25 * (1 - 0.8) is
    just below 5, and truncating it would mask 21 of 25 patches instead of 20. Of 25 patches, 50 % masks 13 and leaves
    12 visible.

    Raises UsageError unless at least one patch stays visible and at least one is masked.
    """
    if not 0 < ratio < 1:
        raise UsageError(f"The mask ratio is {ratio!r}, but it has to lie between 0 and 1.", code="mask-ratio")
    masked = _rounded(tokens, ratio)
    if not 1 <= masked <= tokens - 1:
        raise UsageError(
            f"A mask ratio of {ratio} masks {masked} of {tokens} patches. "
            "At least one patch has to be masked and one has to stay visible; choose another ratio.",
            code="mask-ratio",
        )
    return masked


def _rounded(tokens: int, ratio: float) -> int:
    return math.floor(tokens * Fraction(ratio).limit_denominator(1_000_000) + Fraction(1, 2))


def split_tokens(noise: Tensor, masked: int) -> tuple[Tensor, Tensor]:
    """Split each sample's patches by its own noise: those with the ``masked`` largest values are masked.

    noise: (B, N). Returns the indices of the visible patches (B, N - masked) and of the masked ones (B, masked), each
    in ascending order. With uniform noise every subset of that size is equally likely; the same noise always gives the
    same mask.
    """
    order = torch.argsort(noise, dim=1, stable=True)
    visible = noise.shape[1] - masked
    return order[:, :visible].sort(dim=1).values, order[:, visible:].sort(dim=1).values


@dataclass(frozen=True)
class Split:
    """Each sample's visible and masked patches. keep: (B, K), masked: (B, H) indices, in ascending order where all
    patches were observed. shown: (B, K), hidden: (B, H) bool, which of them count, and observed: (B, N) bool: samples
    with fewer observed patches have fewer of each. None: all patches are visible, or all that are named count."""

    keep: Tensor | None = None
    masked: Tensor | None = None
    shown: Tensor | None = None
    hidden: Tensor | None = None
    observed: Tensor | None = None

    @property
    def complement(self) -> Split:
        """What is visible here is masked there, and the other way round."""
        return Split(self.masked, self.keep, self.hidden, self.shown, self.observed)


def split_observed(noise: Tensor, ratio: float, observed: Tensor) -> Split:
    """``split_tokens`` among the observed patches of each sample, (B, N) bool, each with its own count.

    Of several observed patches at least one is masked and one stays visible; a single one stays visible.
    """
    total = noise.shape[1]
    if observed.all():
        return Split(*split_tokens(noise, masked_count(total, ratio)))
    counts = [0, 0, *(min(max(_rounded(n, ratio), 1), n - 1) for n in range(2, total + 1))]
    there = observed.sum(dim=1)
    masked = torch.tensor(counts, device=noise.device)[there]
    visible = there - masked
    order = torch.argsort(noise.masked_fill(~observed, float("inf")), dim=1, stable=True)
    place = torch.arange(total, device=noise.device)
    keep = order[:, : int(visible.max())]
    behind = (visible[:, None] + place[: max(1, int(masked.max()))]).clamp(max=total - 1)
    return Split(
        keep,
        order.gather(1, behind),
        place[: keep.shape[1]] < visible[:, None],
        place[: behind.shape[1]] < masked[:, None],
        observed,
    )
