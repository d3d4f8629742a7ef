"""Training of the network that tells nodules from what is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from MAEMCLib.presence.network import PresenceNetwork
from torch.nn import functional

EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 36, 64, 4e-3, 1e-2
GAIN, OFFSET_HU, LUNG_HU = 0.08, 50.0, -850.0
"""Standard deviations of the random gain about lung and of the random offset: the slabs' HU are estimated, with about
these errors."""
DROPPED = 0.2
"""How often a slice beside the middle one is left out, whatever the file holds."""


@dataclass(frozen=True)
class Patches:
    """hu: (N, 3, 32, 32) int16. observed: (N, 3) bool. nodule: (N,) bool."""

    hu: np.ndarray
    observed: np.ndarray
    nodule: np.ndarray

    def of(self, chosen: np.ndarray) -> Patches:
        """Those of these numbers."""
        return Patches(self.hu[chosen], self.observed[chosen], self.nodule[chosen])


def train(patches: Patches, seed: int, told: Callable[[str], None] = lambda text: None) -> PresenceNetwork:
    """A network trained on all these patches, ready to be asked. told: receives a line an epoch.

    Products are computed in bfloat16 on the CPU, which takes two thirds of the time.
    """
    torch.manual_seed(seed)
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 1])))
    network = PresenceNetwork().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = EPOCHS * (len(patches.nodule) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=max(steps, 1))
    for epoch in range(EPOCHS):
        order, total = rng.permutation(len(patches.nodule)), 0.0
        for first in range(0, len(order) - BATCH + 1, BATCH):
            batch = patches.of(order[first : first + BATCH])
            hu, observed = _varied(batch, rng)
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(hu, observed)
            wanted = torch.from_numpy(batch.nodule.astype(np.float32))
            loss = functional.binary_cross_entropy_with_logits(logits.float(), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        told(f"epoch {epoch + 1} of {EPOCHS}: loss {total / max(len(order) // BATCH, 1):.3f}")
    return network.eval()


def logits_of(network: PresenceNetwork, patches: Patches) -> np.ndarray:
    """(N,) float64."""
    found = [np.zeros(0)]
    with torch.inference_mode():
        for first in range(0, len(patches.nodule), 256):
            part = slice(first, first + 256)
            hu = torch.from_numpy(patches.hu[part].astype(np.float32))
            found.append(network(hu, torch.from_numpy(patches.observed[part])).double().numpy())
    return np.concatenate(found)


def _varied(batch: Patches, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Turned by right angles, mirrored, brightened, and with slices left out, alike for both classes."""
    hu, observed = batch.hu.astype(np.float32), batch.observed.copy()
    shape = (len(hu), 1, 1, 1)
    gain, offset = rng.normal(1.0, GAIN, shape), rng.normal(0.0, OFFSET_HU, shape)
    hu = ((hu - LUNG_HU) * gain + LUNG_HU + offset).astype(np.float32)
    observed[:, [0, 2]] &= rng.random((len(hu), 2)) >= DROPPED
    if rng.random() < 0.5:
        hu = hu[:, :, :, ::-1]
    if rng.random() < 0.5:
        hu, observed = hu[:, ::-1], observed[:, ::-1]
    hu = np.rot90(hu, int(rng.integers(4)), (2, 3))
    return torch.from_numpy(hu.copy()), torch.from_numpy(observed.copy())
