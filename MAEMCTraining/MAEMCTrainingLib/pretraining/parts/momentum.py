"""Momentum encoders: copies of a method's parts that follow them slowly and are not trained."""

import copy
from typing import ClassVar

import torch

from ..method import Method


class MomentumCopies(Method):
    """A method with a momentum copy, ``momentum_NAME``, of each of the parts ``FOLLOWED``."""

    FOLLOWED: ClassVar[tuple[str, ...]] = ("encoder", "projection")

    def add_copies(self) -> None:
        """Copy the parts as they are."""
        for name in self.FOLLOWED:
            setattr(self, f"momentum_{name}", copy.deepcopy(getattr(self, name)).requires_grad_(False))

    @torch.no_grad()
    def before_step(self) -> None:
        """theta_k <- m * theta_k + (1 - m) * theta_q (He et al. 2020, equation 2), before the keys are computed.

        Parameters only: the running statistics of batch normalization are the copies' own.
        """
        theirs, ours = (
            [parameter for name in self.FOLLOWED for parameter in getattr(self, prefix + name).parameters()]
            for prefix in ("momentum_", "")
        )
        torch._foreach_lerp_(theirs, ours, 1 - self.configuration.momentum)
