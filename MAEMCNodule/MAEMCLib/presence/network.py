"""The network that tells from a patch of 25 mm whether its middle lies in a nodule."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .patch import SLICES

WIDTHS = (32, 48, 96)
WAYS = 8
"""To turn a square by right angles and to mirror it."""
LOWEST_HU, HIGHEST_HU = -1000.0, 300.0
"""What lies beyond looks alike."""


class PresenceNetwork(nn.Module):
    """Three stages of convolutions over the slices as channels; the middle of the last map and the mean of it make the
    number.

    2 x 2 pixels become four channels first (Shi et al. 2016, 10.1109/CVPR.2016.207), which halves the cost. Slices that
    were not observed are zero, and for each slice a constant channel says whether it was.
    """

    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        before = 5 * SLICES
        for number, width in enumerate(WIDTHS):
            stages += [nn.MaxPool2d(2)] if number else []
            stages += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(2 * before, 1)

    def forward(self, hu: Tensor, observed: Tensor) -> Tensor:
        """(B, 3, 32, 32) HU and (B, 3) bool -> (B,) logits."""
        gray = (hu.clamp(LOWEST_HU, HIGHEST_HU) - LOWEST_HU) / (HIGHEST_HU - LOWEST_HU) * 2.0 - 1.0
        seen = observed.to(gray.dtype)[:, :, None, None]
        pixels = functional.pixel_unshuffle(gray * seen, 2)
        shown = torch.cat([pixels, seen.expand(-1, -1, *pixels.shape[2:])], dim=1)
        maps = self.stages(shown.contiguous(memory_format=torch.channels_last))
        middle = maps[:, :, 1:3, 1:3]
        return self.head(torch.cat([middle.mean(dim=(2, 3)), maps.mean(dim=(2, 3))], dim=1))[:, 0]

    def judged(self, hu: Tensor, observed: Tensor) -> Tensor:
        """As ``forward``: the mean over the eight ways to turn and mirror a patch in its plane, none of which makes a
        nodule of what is none."""
        ways = torch.cat([turned(hu, way) for way in range(WAYS)])
        return self(ways, observed.repeat(WAYS, 1)).view(WAYS, -1).mean(dim=0)


def turned(hu: Tensor, way: int) -> Tensor:
    """(B, 3, 32, 32) in one of the WAYS to turn and mirror it in its plane; 0 leaves it as it is."""
    quarters = torch.rot90(hu, way % 4, (2, 3))
    return quarters.flip(3) if way >= 4 else quarters
