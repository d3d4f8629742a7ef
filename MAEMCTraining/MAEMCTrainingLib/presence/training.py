"""Training of the network that tells nodules from what is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from MAEMCLib.presence.network import WAYS, PresenceNetwork, turned
from torch.nn import functional

EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 36, 64, 4e-3, 1e-2
GAIN, OFFSET_HU, LUNG_HU = 0.08, 50.0, -850.0
"""Standard deviations of the random gain about lung and of the random offset: the slabs' HU are estimated, with about
these errors."""
DROPPED = 0.2
"""How often a slice beside the middle one is left out, whatever the file holds."""
COUNTED = ((20.0, 3.0), (10.0, 2.0))
"""From this diameter (mm) on a nodule counts so many times: large ones are few, fill the patch as wall does, and must
not be missed."""


@dataclass(frozen=True)
class Patches:
    """hu: (N, 3, 32, 32) int16. observed: (N, 3) bool. nodule: (N,) bool."""

    hu: np.ndarray
    observed: np.ndarray
    nodule: np.ndarray

    def of(self, chosen: np.ndarray) -> Patches:
        """Those of these numbers."""
        return Patches(self.hu[chosen], self.observed[chosen], self.nodule[chosen])


def train(
    patches: Patches, diameters: np.ndarray, seed: int, told: Callable[[str], None] = lambda text: None
) -> PresenceNetwork:
    """A network trained on all these patches, ready to be asked. diameters: (N,) mm, of the nodules among them. told:
    receives a line an epoch."""
    weights = torch.from_numpy(_weights(patches.nodule, diameters))
    torch.manual_seed(seed)
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 1])))
    network = PresenceNetwork().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = EPOCHS * (len(patches.nodule) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=max(steps, 1))
    for epoch in range(EPOCHS):
        order, total = rng.permutation(len(patches.nodule)), 0.0
        for first in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[first : first + BATCH]
            batch = patches.of(chosen)
            hu, observed = _varied(batch, rng)
            logits = network(hu, observed)
            wanted = torch.from_numpy(batch.nodule.astype(np.float32))
            loss = functional.binary_cross_entropy_with_logits(logits, wanted, weights[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        told(f"epoch {epoch + 1} of {EPOCHS}: loss {total / max(len(order) // BATCH, 1):.3f}")
    return network.eval()


def _weights(nodule: np.ndarray, diameters: np.ndarray) -> np.ndarray:
    """(N,) float32: how much each patch counts."""
    counted = np.select([diameters >= size for size, _ in COUNTED], [times for _, times in COUNTED], 1.0)
    return np.where(nodule, counted, 1.0).astype(np.float32)


def logits_of(network: PresenceNetwork, patches: Patches) -> np.ndarray:
    """(N,) float64."""
    found = [np.zeros(0)]
    with torch.inference_mode():
        for first in range(0, len(patches.nodule), 256):
            part = slice(first, first + 256)
            hu = torch.from_numpy(patches.hu[part].astype(np.float32))
            found.append(network.judged(hu, torch.from_numpy(patches.observed[part])).double().numpy())
    return np.concatenate(found)


def _varied(batch: Patches, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Each patch turned, mirrored, brightened, and with slices left out, alike for both classes; all of a batch upside
    down or none."""
    hu, observed = batch.hu.astype(np.float32), batch.observed.copy()
    shape = (len(hu), 1, 1, 1)
    gain, offset = rng.normal(1.0, GAIN, shape), rng.normal(0.0, OFFSET_HU, shape)
    hu = ((hu - LUNG_HU) * gain + LUNG_HU + offset).astype(np.float32)
    observed[:, [0, 2]] &= rng.random((len(hu), 2)) >= DROPPED
    if rng.random() < 0.5:
        hu, observed = hu[:, ::-1], observed[:, ::-1]
    shown, ways = torch.from_numpy(hu.copy()), torch.from_numpy(rng.integers(WAYS, size=len(hu)))
    for way in range(1, WAYS):
        shown[ways == way] = turned(shown[ways == way], way)
    return shown, torch.from_numpy(observed.copy())
