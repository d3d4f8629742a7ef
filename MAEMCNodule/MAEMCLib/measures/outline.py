"""The network that outlines a nodule: its shipped weights, and the planes of a field in three directions."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import torch

from ..errors import ModelError
from .field import LOGIT_STEPS, PIXEL_MM, SIDE
from .outline_network import LOWEST_HU, OutlineNetwork

WEIGHTS = Path(__file__).with_name("outline.safetensors")
LARGEST_BYTES = 4 << 20
NOWHERE = -20.0
"""The logit of places that were not looked at."""
SEEN_THROUGH_MM = 45.0
"""Planes across the slices are looked at where these fill so much of the field: elsewhere they would show a nodule that
is cut off."""
_MARGIN_PX, _LIKELY = 5, -3.0
_WINDOWS = (32, 48, 64)


class Outliner:
    """The network, ready. Raises ModelError where the weights are not those of its architecture."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        from safetensors.torch import load

        data = weights.read_bytes() if weights.stat().st_size <= LARGEST_BYTES else b""
        self.sha256 = hashlib.sha256(data).hexdigest()
        self._network = OutlineNetwork()
        try:
            self._network.load_state_dict(load(data))
        except Exception as error:
            raise ModelError(
                f"The outline network's weights ({weights.name}) are damaged. Install MAEMC again.", "weights"
            ) from error
        self._network.eval().to(memory_format=torch.channels_last)

    def logits(self, planes: np.ndarray, first_mm: float, step_mm: float) -> np.ndarray:
        """(K, 64, 64) int16, in LOGIT_STEPS, of a field's planes; above 0 is nodule.

        The three planes through the point say how far the nodule reaches; within that, every plane is looked at in
        three directions, and the mean of their logits is taken. Of few slices there is one direction.
        """
        hu = torch.from_numpy(planes.astype(np.float32))
        heights = first_mm + step_mm * torch.arange(len(hu))
        with torch.inference_mode():
            found = self._found(hu, heights, step_mm)
        return np.rint(found.numpy() * LOGIT_STEPS).astype(np.int16)

    def _found(self, hu: torch.Tensor, heights: torch.Tensor, step_mm: float) -> torch.Tensor:
        if len(hu) * abs(step_mm) < SEEN_THROUGH_MM:
            return self._network(hu, heights).clamp(NOWHERE, -NOWHERE)
        cube = _evenly(hu, heights)
        middle, offset = SIDE // 2, torch.tensor([PIXEL_MM / 2])
        nearest = int(heights.abs().argmin())
        views = (hu[nearest : nearest + 1], cube[:, middle][None], cube[:, :, middle][None])
        beside = torch.cat([heights[nearest : nearest + 1], offset, offset])
        y_x, z_x, z_y = self._network(torch.cat(views), beside) > _LIKELY
        likely = (z_x.any(1) | z_y.any(1), y_x.any(1) | z_y.any(0), y_x.any(0) | z_x.any(0))
        reach = [_reach(one) for one in likely]
        if 0 in reach:
            return torch.full_like(hu, NOWHERE)
        side = next(side for side in _WINDOWS if side >= min(2 * max(reach), SIDE))
        return self._combined(hu, heights, cube, side, reach)

    def _combined(
        self, hu: torch.Tensor, heights: torch.Tensor, cube: torch.Tensor, side: int, reach: list[int]
    ) -> torch.Tensor:
        """Mean logits of three directions. side: pixels of the planes that are looked at. reach: pixels from the middle
        along z, y, x."""
        low, high = (SIDE - side) // 2, (SIDE + side) // 2
        window = slice(low, high)
        chosen = (heights.abs() <= reach[0] * PIXEL_MM).nonzero()[:, 0]
        axial = self._network(hu[chosen][:, window, window], heights[chosen])
        rows, columns = (slice(SIDE // 2 - n, SIDE // 2 + n) for n in reach[1:])
        offsets = (torch.arange(SIDE) - (SIDE - 1) / 2) * PIXEL_MM
        coronal = self._network(cube[window, rows, window].transpose(0, 1), offsets[rows])  # rows, z, columns
        sagittal = self._network(cube[window, window, columns].permute(2, 0, 1), offsets[columns])  # columns, z, rows
        through = torch.full((3, side, SIDE, SIDE), torch.nan)
        through[1, :, rows, window] = coronal.transpose(0, 1)
        through[2, :, window, columns] = sagittal.permute(1, 2, 0)
        found = torch.full_like(hu, NOWHERE)
        across = _at(through[1:], heights[chosen] / PIXEL_MM + (side - 1) / 2)
        every = torch.full((3, len(chosen), SIDE, SIDE), torch.nan)
        every[0, :, window, window] = axial
        every[1:] = across
        found[chosen] = torch.where(every.isnan().any(dim=0), NOWHERE, every.nan_to_num().mean(dim=0))
        return found.clamp(NOWHERE, -NOWHERE)


@cache
def shipped_outliner() -> Outliner:
    """The one that is shipped, read once."""
    return Outliner()


def _evenly(hu: torch.Tensor, heights: torch.Tensor) -> torch.Tensor:
    """(64, 64, 64): planes every PIXEL_MM about the point, lines between the slices; air where there is none."""
    wanted = (torch.arange(SIDE) - (SIDE - 1) / 2) * PIXEL_MM
    index = (wanted - heights[0]) / (heights[1] - heights[0])
    between = _at(hu[None], index.clamp(0, len(hu) - 1))[0]
    outside = (index < -0.5) | (index > len(hu) - 0.5)
    between[outside] = LOWEST_HU
    return between


def _at(stacks: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """(N, K, rows, columns) at continuous planes."""
    index = index.clamp(0, stacks.shape[1] - 1)
    low = index.floor().long().clamp(max=stacks.shape[1] - 2) if stacks.shape[1] > 1 else index.long() * 0
    share = (index - low)[None, :, None, None]
    high = (low + 1).clamp(max=stacks.shape[1] - 1)
    return stacks[:, low] * (1 - share) + stacks[:, high] * share


def _reach(likely: torch.Tensor) -> int:
    """Pixels from the middle of 64 that hold everything likely and a margin; 0 where nothing is."""
    places = likely.nonzero()[:, 0]
    if not len(places):
        return 0
    far = int((places.float() - (SIDE - 1) / 2).abs().max().ceil())
    return min(far + _MARGIN_PX, SIDE // 2)
