"""What the masked pre-training methods of convolutional networks share: the grid of the mask, the loss, the surface."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from MAEMCLib.errors import UsageError
from MAEMCLib.networks.configuration import BackboneConfiguration
from MAEMCLib.networks.encoders import build_encoder
from MAEMCLib.networks.masking import masked_count, patchify, split_tokens
from torch import Tensor

from ..method import Method, ViewBatch
from .losses import masked_mse, standardized
from .masked_convolutions import stage_shapes
from .settings import MethodSettings, check
from .small_batches import check_share


@dataclass(frozen=True)
class MaskGrid:
    """Which square cells of an image are masked.

    image_size: pixels a side; patch: pixels a side of a cell; ratio: the share masked, rounded half up on exact
    numbers; stride: of the encoder's coarsest map. Raises UsageError where cells, maps and image do not share borders,
    or where nothing would be masked or nothing visible.
    """

    image_size: int
    patch: int
    ratio: float
    stride: int

    def __post_init__(self) -> None:
        # The strides are powers of two. A cell is either made of whole places of the coarsest map or is one of the
        # finer ones' places, so that every map has the mask's borders.
        if self.patch < 2 or (self.patch % self.stride and self.stride % self.patch):
            powers = [str(2**power) for power in range(1, self.stride.bit_length())]
            raise UsageError(
                f"Mask patches of {self.patch} pixels do not fit the encoder, whose maps have strides up to "
                f"{self.stride} pixels. Choose {', '.join(powers)} or a multiple of {self.stride}.",
                "mask-patch",
            )
        step = max(self.patch, self.stride)
        if self.image_size % step or self.image_size < step:
            below = max(1, self.image_size // step) * step
            above = (self.image_size // step + 1) * step
            nearest = f"{below} or {above}" if below != above else f"{above}"
            raise UsageError(
                f"Images of {self.image_size} pixels do not fit a mask of {self.patch}-pixel patches on an encoder "
                f"with a stride of {self.stride}: the maps' places and the patches would not have the same borders. "
                f"The nearest sizes are {nearest}; set encoder.image_size.",
                "image-size",
            )
        masked_count(self.cells, self.ratio)

    @property
    def cells(self) -> int:
        """Cells of one image."""
        return (self.image_size // self.patch) ** 2

    @property
    def masked(self) -> int:
        """Hidden cells of one image."""
        return masked_count(self.cells, self.ratio)

    def split(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Noise (B, N) -> the grid (B, 1, G, G) bool, True where visible, and the masked cells' indices (B, H)."""
        _, masked = split_tokens(noise, self.masked)
        visible = torch.ones_like(noise, dtype=torch.bool).scatter(1, masked, False)
        side = self.image_size // self.patch
        return visible.reshape(len(noise), 1, side, side), masked


@dataclass(frozen=True)
class MaskSettings(MethodSettings):
    """The settings that these methods share. Raises UsageError for values that make no sense."""

    mask_ratio: float = 0.6
    # Side of a masked cell in pixels. 32, the encoder's stride, as published. On small images, where that leaves only a
    # few cells, choose a half or a quarter: a place of a coarser map is then visible where any cell below it is.
    mask_patch: int = 32
    # True: what is predicted is each cell minus its own mean, over its own deviation.
    norm_pixels: bool = True
    decoder_width: int = 512  # channels

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_mask_ratio()
        check(self.mask_patch >= 2, "mask_patch", self.mask_patch, "at least 2 pixels")
        self.check_at_least(1, "decoder_width")


class MaskedReconstruction(Method):
    """A convolutional encoder that learns to rebuild masked cells. A method says how, in ``rebuild``."""

    VIEWS = "one"

    def __init__(self, configuration: MaskSettings, encoder: BackboneConfiguration, seed: int) -> None:
        """Raises UsageError for a mask that does not fit the encoder."""
        super().__init__()
        self.encoder = build_encoder(encoder, seed)
        self.levels = stage_shapes(self.encoder.body)
        self.configuration = configuration
        self.grid = MaskGrid(
            encoder.image_size, configuration.mask_patch, configuration.mask_ratio, stride=self.levels[-1][1]
        )
        self.mask_cells, self.masked = self.grid.cells, self.grid.masked

    def rebuild(self, images: Tensor, visible: Tensor) -> Tensor:
        """Images (B, 1, S, S) of which the cells visible (B, 1, G, G) may be seen -> images (B, 1, S, S)."""
        raise NotImplementedError

    def forward(self, batch: ViewBatch) -> tuple[dict[str, Tensor], None]:
        """The mean squared error over the pixels of a share's masked cells: "loss", and detached as "loss_mse"."""
        images = batch.images[0]
        if self.training:
            check_share(len(images), self)
        visible, masked = self.grid.split(batch.noise[:, 0])
        prediction = patchify(self.rebuild(images, visible), self.grid.patch)
        target = patchify(images, self.grid.patch)
        if self.configuration.norm_pixels:
            target = standardized(target)[0]
        loss = masked_mse(prediction, target, masked)
        return {"loss": loss, "loss_mse": loss.detach()}, None

    @torch.no_grad()
    def reconstruct(self, images: Tensor, noise: Tensor, plane: str = "axial") -> tuple[Tensor, Tensor]:
        """Rebuild images (B, 1, S, S) masked by noise (B, N) as in training; every plane goes the same way.

        Returns the prediction (B, N, P) of all cells in the images' gray values, and the masked cells' indices (B, H).
        A network that predicts standardized cells does not know their means and deviations: the image's own are put
        back, so the picture shows whether structure was found, not gray values.
        """
        visible, masked = self.grid.split(noise)
        prediction = patchify(self.rebuild(images, visible), self.grid.patch).float()
        if self.configuration.norm_pixels:
            _, mean, deviation = standardized(patchify(images, self.grid.patch))
            prediction = prediction * deviation + mean
        return prediction, masked
