"""What the masked pre-training methods of convolutional networks share: the grid of the mask, the loss, the surface."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated

import torch
from MAEMCLib.errors import UsageError
from MAEMCLib.networks.configuration import DecoderConfiguration
from MAEMCLib.networks.masking import masked_count, split_tokens
from MAEMCLib.networks.vit import patchify
from torch import Tensor

from ...engine.batch_norm import check_micro_batch
from ...engine.configuration import Bound, Count, MaskRatio
from ..method import Method, MethodSettings, ViewBatch
from .losses import masked_mse, standardized
from .masked_convolutions import stage_shapes


def mask_grid(image_size: int, patch: int, ratio: float, stride: int) -> tuple[int, int]:
    """How many square cells an image has, and how many of them are masked.

    image_size: pixels a side; patch: pixels a side of a cell; ratio: the part masked, rounded half up on exact
    numbers; stride: of the encoder's coarsest map. Raises UsageError where cells, maps and image do not share borders,
    or where nothing would be masked or nothing visible.
    """
    # The strides are powers of two. A cell is either made of whole places of the coarsest map or is one of the finer
    # ones' places, so that every map has the mask's borders.
    if patch < 2 or (patch % stride and stride % patch):
        powers = [str(2**power) for power in range(1, stride.bit_length())]
        raise UsageError(
            f"Mask patches of {patch} pixels do not fit the encoder, whose maps have strides up to {stride} pixels. "
            f"Choose {', '.join(powers)} or a multiple of {stride}.",
            "mask-patch",
        )
    step = max(patch, stride)
    if image_size % step:
        sizes = {max(1, image_size // step) * step, (image_size // step + 1) * step}
        raise UsageError(
            f"Images of {image_size} pixels do not fit a mask of {patch}-pixel patches on an encoder with a stride of "
            f"{stride}: the maps' places and the patches would not have the same borders. The nearest sizes are "
            f"{' or '.join(map(str, sorted(sizes)))}; set encoder.image_size.",
            "image-size",
        )
    cells = (image_size // patch) ** 2
    return cells, masked_count(cells, ratio)


@dataclass(frozen=True)
class MaskSettings(MethodSettings):
    """The settings that these methods share."""

    mask_ratio: MaskRatio = 0.6
    # Side of a masked cell in pixels. 32, the encoder's stride, as published. On small images, where that leaves only a
    # few cells, choose a half or a quarter: a place of a coarser map is then visible where any cell below it is.
    mask_patch: Annotated[int, Bound("at least 2 pixels", lambda side: side >= 2)] = 32
    # True: what is predicted is each cell minus its own mean, over its own deviation.
    norm_pixels: bool = True
    decoder_width: Count = 512  # channels: of SparK and Res-MAE at the coarsest map, halved at each doubling


class MaskedReconstruction(Method):
    """A convolutional encoder that learns to reconstruct masked cells. A method says how, in ``complete``."""

    Configuration = MaskSettings
    VIEWS = "one"

    def add_parts(self, decoder: DecoderConfiguration, seed: int) -> None:
        settings, side = self.configuration, self.encoder.configuration.image_size
        self.levels = stage_shapes(self.encoder.body)
        self.patch = settings.mask_patch
        self.mask_cells, self.masked = mask_grid(side, self.patch, settings.mask_ratio, stride=self.levels[-1][1])

    @abstractmethod
    def complete(self, images: Tensor, visible: Tensor) -> Tensor:
        """Images (B, 1, S, S) of which the cells visible (B, 1, G, G) may be seen -> images (B, 1, S, S)."""

    def split(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Noise (B, N) -> the grid (B, 1, G, G) bool, True where visible, and the masked cells' indices (B, H)."""
        _, masked = split_tokens(noise, self.masked)
        visible = torch.ones_like(noise, dtype=torch.bool).scatter(1, masked, False)
        side = math.isqrt(self.mask_cells)
        return visible.reshape(len(noise), 1, side, side), masked

    def forward(self, batch: ViewBatch) -> tuple[dict[str, Tensor], None]:
        """The mean squared error over the masked cells of a micro-batch: "loss", and detached as "loss_mse"."""
        images = batch.images[0]
        if self.training:
            check_micro_batch(len(images), self)
        visible, masked = self.split(batch.noise[:, 0])
        prediction = patchify(self.complete(images, visible), self.patch)
        target = patchify(images, self.patch)
        if self.configuration.norm_pixels:
            target = standardized(target)[0]
        loss = masked_mse(prediction, target, masked)
        return {"loss": loss, "loss_mse": loss.detach()}, None

    @torch.no_grad()
    def reconstruct(self, images: Tensor, noise: Tensor, plane: str = "axial") -> tuple[Tensor, Tensor]:
        """Reconstruct images (B, 1, S, S) masked by noise (B, N) as in training; every plane goes the same way.

        Returns the prediction (B, N, P) of all cells in the images' gray values, and the masked cells' indices (B, H).
        A network that predicts standardized cells does not know their means and deviations: the image's own are put
        back, so the image shows whether structure was found, not gray values.
        """
        visible, masked = self.split(noise)
        prediction = patchify(self.complete(images, visible), self.patch).float()
        if self.configuration.norm_pixels:
            _, mean, deviation = standardized(patchify(images, self.patch))
            prediction = prediction * deviation + mean
        return prediction, masked
