"""Training of the outline network on planes of nodules with their readers' consensus."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from MAEMCLib.measures.field import PIXEL_MM, SIDE
from MAEMCLib.measures.outline_network import WIDTH, OutlineNetwork
from torch.nn import functional

from .planes import STORED_SIDE, Planes


@dataclass(frozen=True)
class OutlineTraining:
    """Settings of a training. Clicks lie up to ``click_mm`` beside a nodule's middle; a share ``elsewhere`` of them at
    least ``elsewhere_mm`` beside it, where nothing is to be outlined. gain, offset_hu: HU of slabs are estimates.
    thick: share of batches in which one direction is as blurred as thick slices make it."""

    epochs: int = 14
    batch: int = 48
    learning_rate: float = 4e-3
    weight_decay: float = 0.01
    width: int = WIDTH
    seed: int = 0
    click_mm: float = 2.5
    elsewhere: float = 0.12
    elsewhere_mm: float = 10.0
    zoom: float = 0.2
    gain: float = 0.1
    offset_hu: float = 100.0
    thick: float = 0.3
    thickest_px: int = 6


def train_outline(
    planes: list[Planes], chosen: list[np.ndarray], settings: OutlineTraining, say: Callable[[str], None]
) -> OutlineNetwork:
    """A network trained on the chosen planes (indices) of each set. say: a line an epoch."""
    torch.manual_seed(settings.seed)
    network = OutlineNetwork(settings.width).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    places = np.concatenate([np.stack([np.full(len(c), n), c], axis=1) for n, c in enumerate(chosen)])
    steps = len(places) // settings.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=steps * settings.epochs, pct_start=0.15
    )
    for epoch in range(settings.epochs):
        order = np.random.default_rng((settings.seed, epoch)).permutation(places)
        random = torch.Generator().manual_seed(1000 * settings.seed + epoch)
        total = 0.0
        for step in range(steps):
            batch = order[step * settings.batch : (step + 1) * settings.batch]
            hu, beside, target = _varied(_gather(planes, batch), settings, random)
            loss = outline_loss(network(hu, beside), target)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        say(f"epoch {epoch + 1} of {settings.epochs}, loss {total / steps:.3f}")
    return network.eval()


def outline_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the pixels and, where there is a nodule, one minus the soft Dice coefficient (Milletari et al.
    2016, 10.1109/3DV.2016.79). Both (planes, side, side); target 0 or 1."""
    inside = logits.sigmoid()
    overlap = (2 * (inside * target).sum((1, 2)) + 1) / ((inside + target).sum((1, 2)) + 1)
    present = target.flatten(1).any(dim=1)
    cross = functional.binary_cross_entropy_with_logits(logits, target)
    return 3 * cross + ((1 - overlap) * present).sum() / present.sum().clamp(min=1)


def _gather(planes: list[Planes], batch: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    hu = np.stack([planes[n].hu[i] for n, i in batch]).astype(np.float32)
    nodule = np.stack([planes[n].nodule[i] for n, i in batch]).astype(np.float32) / 100
    beside = np.array([planes[n].beside_mm[i] for n, i in batch], np.float32)
    return torch.from_numpy(hu), torch.from_numpy(nodule), torch.from_numpy(beside)


def _varied(
    stored: tuple[torch.Tensor, torch.Tensor, torch.Tensor], settings: OutlineTraining, random: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Turned, mirrored, zoomed, clicked beside the middle, with another gain and offset: HU, mm beside, target."""
    hu, nodule, beside = stored
    count = len(hu)

    def uniform(*size: int) -> torch.Tensor:
        return 2 * torch.rand(*size, generator=random) - 1

    far = torch.rand(count, generator=random) < settings.elsewhere
    zoom = torch.exp(uniform(count) * settings.zoom)
    grid = functional.affine_grid(
        _placed(count, zoom, far, settings, random), [count, 1, SIDE, SIDE], align_corners=False
    )
    hu = functional.grid_sample(hu[:, None], grid, padding_mode="border", align_corners=False)[:, 0]
    nodule = functional.grid_sample(nodule[:, None], grid, align_corners=False)[:, 0]
    beside = (beside + uniform(count) * settings.click_mm) / zoom
    target = (nodule > 0.5).float()
    near = target[:, SIDE // 2 - 5 : SIDE // 2 + 5, SIDE // 2 - 5 : SIDE // 2 + 5].flatten(1).any(dim=1)
    target = target * (~far | near)[:, None, None]
    hu = (hu + 1000) * (1 + settings.gain * uniform(count, 1, 1)) - 1000 + settings.offset_hu * uniform(count, 1, 1)
    if float(torch.rand(1, generator=random)) < settings.thick:
        hu = _thickened(hu, settings, random)
    return hu, beside, target


def _placed(
    count: int, zoom: torch.Tensor, far: torch.Tensor, settings: OutlineTraining, random: torch.Generator
) -> torch.Tensor:
    """(planes, 2, 3) of the plane that is shown in the one that is stored, in halves of the stored one's side."""
    angle = torch.rand(count, generator=random) * 2 * math.pi
    flip = torch.where(torch.rand(count, generator=random) < 0.5, -1.0, 1.0)
    half_mm = STORED_SIDE * PIXEL_MM / 2
    shift = (2 * torch.rand(count, 2, generator=random) - 1) * settings.click_mm / half_mm
    way = torch.rand(count, generator=random) * 2 * math.pi
    reach = (settings.elsewhere_mm + 8 * torch.rand(count, generator=random)) / half_mm
    shift = torch.where(far[:, None], torch.stack([way.cos() * reach, way.sin() * reach], dim=1), shift)
    scale = zoom * SIDE / STORED_SIDE
    first = torch.stack([angle.cos() * scale, -angle.sin() * scale * flip], dim=1)
    second = torch.stack([angle.sin() * scale, angle.cos() * scale * flip], dim=1)
    return torch.cat([torch.stack([first, second], dim=1), shift[:, :, None]], dim=2)


def _thickened(hu: torch.Tensor, settings: OutlineTraining, random: torch.Generator) -> torch.Tensor:
    """Means of 2 to 6 rows, in their place lines between them: as slices that are thick look from the side."""
    rows = int(torch.randint(2, settings.thickest_px + 1, (1,), generator=random))
    size = SIDE // rows * rows
    thin = functional.avg_pool2d(hu[:, None, :size], (rows, 1))
    back = functional.interpolate(thin, size=(size, SIDE), mode="bilinear", align_corners=False)[:, 0]
    return torch.cat([back, hu[:, size:]], dim=1)
