"""The shipped detector: the number that says whether a point lies in a nodule."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch

from ..errors import ModelError
from .network import PresenceNetwork
from .patch import Patch

WEIGHTS = Path(__file__).with_name("presence.safetensors")
LARGEST_BYTES, MOST_MEMBERS = 4 << 20, 10
THRESHOLDS = "thresholds"
"""Of the members' logits, in the weights: what lies above is a nodule."""


class Detector:
    """The members, ready. Each was trained without a part of the patients, and its threshold was set on further ones.

    Raises ModelError where the weights are not those of the architecture.
    """

    def __init__(self, weights: Path = WEIGHTS) -> None:
        from safetensors.torch import load

        try:
            data = weights.read_bytes() if weights.stat().st_size <= LARGEST_BYTES else b""
            tensors = load(data)
            self._thresholds = tensors.pop(THRESHOLDS).double().numpy()
            if not 1 <= len(self._thresholds) <= MOST_MEMBERS or not np.isfinite(self._thresholds).all():
                raise ValueError("thresholds")
            self.members = [_member(tensors, number) for number in range(len(self._thresholds))]
        except Exception as error:
            raise ModelError(
                f"The weights of the nodule detector ({weights.name}) are damaged. Install MAEMC again.", "weights"
            ) from error

    def presence(self, patches: Sequence[Patch]) -> list[float]:
        """For each patch 0 to 1, from 0.5 on a nodule: the mean over the members of each one's number."""
        if not patches:
            return []
        hu = torch.from_numpy(np.stack([patch.hu for patch in patches]).astype(np.float32))
        observed = torch.from_numpy(np.stack([patch.observed for patch in patches]))
        with torch.inference_mode():
            logits = np.stack([member.judged(hu, observed).double().numpy() for member in self.members])
        return scaled(logits, self._thresholds[:, None]).mean(axis=0).tolist()


def scaled(logits: np.ndarray, thresholds: np.ndarray | float) -> np.ndarray:
    """Logits -> 0 to 1, 0.5 at the threshold."""
    return 1.0 / (1.0 + np.exp(-np.clip(logits - thresholds, -50.0, 50.0)))


@cache
def shipped_detector() -> Detector:
    """The one that is shipped, read once."""
    return Detector()


def presence(patches: Sequence[Patch]) -> list[float]:
    """What the shipped detector says of patches."""
    return shipped_detector().presence(patches) if patches else []


def stored_members(members: Sequence[PresenceNetwork], thresholds: Sequence[float]) -> dict[str, torch.Tensor]:
    """What ``Detector`` reads, as tensors by name."""
    found = {THRESHOLDS: torch.tensor(thresholds, dtype=torch.float64)}
    for number, member in enumerate(members):
        for name, tensor in member.state_dict().items():
            found[f"{number}.{name}"] = (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
    return found


def _member(tensors: dict[str, torch.Tensor], number: int) -> PresenceNetwork:
    prefix = f"{number}."
    own = {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    network = PresenceNetwork()
    network.load_state_dict({name: one.float() if one.is_floating_point() else one for name, one in own.items()})
    return network.eval().requires_grad_(False)
