"""The network that outlines a nodule in planes of a CT: which pixels belong to the nodule at the planes' middle."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .field import PIXEL_MM, REACH_MM

WIDTH = 16
"""Channels at the finest of three levels."""
LOWEST_HU, HIGHEST_HU = -1200.0, 400.0


class OutlineNetwork(nn.Module):
    """A U-Net (Ronneberger et al. 2015, 10.1007/978-3-319-24574-4_28) of three levels, on 2 x 2 pixels at a time.

    Four pixels become four channels and back (Shi et al. 2016, 10.1109/CVPR.2016.207), which costs a quarter. Another
    channel has each place's distance from the nodule's point in three dimensions: it tells the nodule meant from
    what else there is, also in planes beside the point.
    """

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.down = nn.ModuleList([_block(5, width), _block(width, 2 * width), _block(2 * width, 4 * width)])
        self.up = nn.ModuleList([_block(6 * width, 2 * width), _block(3 * width, width)])
        self.last = nn.Conv2d(width, 4, 1)

    def forward(self, hu: torch.Tensor, beside_mm: torch.Tensor) -> torch.Tensor:
        """(planes, side, side) HU at PIXEL_MM, side a multiple of 8; (planes,) mm from the plane to the nodule's point.
        Returns (planes, side, side) logits; what is above 0 is nodule."""
        gray = ((hu - LOWEST_HU) * (2 / (HIGHEST_HU - LOWEST_HU)) - 1).clamp(-1, 1)
        features = torch.cat([functional.pixel_unshuffle(gray[:, None], 2), _distances(hu, beside_mm)], dim=1)
        features = features.contiguous(memory_format=torch.channels_last)
        kept = []
        for level, block in enumerate(self.down):
            features = block(functional.max_pool2d(features, 2) if level else features)
            kept.append(features)
        for block, fine in zip(self.up, kept[-2::-1], strict=True):
            features = block(torch.cat([functional.interpolate(features, scale_factor=2), fine], dim=1))
        return functional.pixel_shuffle(self.last(features), 2)[:, 0]


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def _distances(hu: torch.Tensor, beside_mm: torch.Tensor) -> torch.Tensor:
    """(planes, 1, side / 2, side / 2): from the nodule's point, 1 at the border of a plane through it."""
    half = hu.shape[-1] // 2
    along = (torch.arange(half, device=hu.device) - (half - 1) / 2) * (2 * PIXEL_MM)
    squares = along[:, None] ** 2 + along[None] ** 2 + beside_mm[:, None, None] ** 2
    return squares.sqrt()[:, None] / REACH_MM
