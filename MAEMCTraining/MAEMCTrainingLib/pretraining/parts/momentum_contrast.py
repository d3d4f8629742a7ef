"""Momentum contrast (He et al. 2020): copies of a method's parts that follow them slowly and are not trained, and the
queue of keys that contrastive learning takes its negatives from."""

import copy
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..method import Method
from .gathering import rows_of_all


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


class KeyQueue(nn.Module):
    """The last ``size`` keys and the patients they came from, first in, first out (He et al. 2020, section 3.2).

    All of it is persistent state: a resumed run goes on with the same negatives. Any batch size is accepted, also one
    that does not divide the queue (700 keys and batches of 64) or exceeds it.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("keys", torch.zeros(size, width))
        self.register_buffer("patients", torch.full((size,), -1, dtype=torch.long))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))  # the slot that is written next
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))  # slots that hold a key

    @torch.no_grad()
    def enqueue(self, keys: Tensor, patients: Tensor) -> None:
        """Add keys (B, width) of patients (B,), replacing the oldest. With several processes, the keys of all."""
        keys, patients = rows_of_all(keys)[0], rows_of_all(patients)[0]
        count = len(keys)
        last = min(count, self.size)  # of a batch larger than the queue only the newest keys remain
        slots = (self.pointer + torch.arange(count - last, count, device=self.keys.device)) % self.size
        self.keys[slots] = keys[count - last :].to(self.keys.dtype)
        self.patients[slots] = patients[count - last :]
        self.pointer.copy_((self.pointer + count) % self.size)
        self.filled.copy_((self.filled + count).clamp(max=self.size))

    def allowed(self, patients: Tensor, same_patient: str) -> Tensor:
        """Which keys are negatives of which query: (B, size) bool for queries of patients (B,).

        Slots that hold no key yet are never negatives: random vectors would be trivially different from every query.
        ``same_patient``: "exclude" also leaves out the keys of the query's own patient, "keep" does not.
        """
        occupied = torch.arange(self.size, device=self.keys.device) < self.filled
        return occupied & ((patients[:, None] != self.patients) | (same_patient == "keep"))
