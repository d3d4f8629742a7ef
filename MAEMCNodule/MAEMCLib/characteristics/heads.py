"""A linear map of a network's features to readers' mean ratings: the small heads beside the number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .ratings import HIGHEST, LOWEST, SCALES


@dataclass(frozen=True)
class Heads:
    """names: of C characteristics. weight: (members, C, width); bias: (members, C)."""

    names: tuple[str, ...]
    weight: np.ndarray
    bias: np.ndarray

    @classmethod
    def of(cls, members: Sequence[Mapping[str, np.ndarray]], names: Sequence[str], width: int) -> Heads:
        """From each member's tensors. Raises ValueError for another shape, or values that are not finite."""
        weight = np.stack([np.asarray(one["weight"], float) for one in members])
        bias = np.stack([np.asarray(one["bias"], float) for one in members])
        if weight.shape[1:] != (len(names), width) or bias.shape[1:] != (len(names),) or set(names) - set(SCALES):
            raise ValueError(f"they are not {len(names)} characteristics of {width} features")
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise ValueError("they hold values that are not numbers")
        return cls(tuple(names), weight, bias)

    def ratings(self, features: np.ndarray) -> np.ndarray:
        """(members, B, width) -> (B, C): the mean of the members' ratings, within the readers' scale."""
        each = np.einsum("mbw,mcw->mbc", features, self.weight) + self.bias[:, None]
        return np.clip(each, LOWEST, HIGHEST).mean(axis=0)
