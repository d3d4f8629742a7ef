"""Res-MAE: a ResNet as a masked autoencoder, with blocks of the image set to zero.

The pre-training behind the fusion of modalities for spinal tumor subtypes; its source says that a ResNet is pre-trained
by masked image reconstruction, and no more. How the image is masked, the decoder and the loss are our reading
(methods.md, 6.3): blocks of 32 pixels are zeroed, the plain encoder sees the whole image, a light decoder rebuilds it
from the last map, and hidden pixels count. ``spark`` is the principled alternative.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from MAEMCLib.networks.configuration import DecoderConfiguration
from MAEMCLib.networks.encoders import AnyEncoderConfiguration
from torch import Tensor

from .cnn_decoder import LightDecoder
from .masked_convolutions import hide, stage_features
from .masked_reconstruction import MaskedReconstruction, fitting_side
from .settings import check

if TYPE_CHECKING:
    from ..configuration import PretrainingConfiguration


@dataclass(frozen=True)
class Configuration:
    """The settings of Res-MAE. Raises UsageError for values that make no sense."""

    mask_ratio: float = 0.6  # not printed; 0.5 to 0.6 suit blocks of this size
    block: int = 32  # side of a zeroed block in pixels
    decoder_width: int = 512  # channels at the last map, halved at each doubling of the resolution
    # True: what is predicted is each block minus its own mean, over its own deviation, as SparK has it.
    norm_pixels: bool = False

    def __post_init__(self) -> None:
        check(0 < self.mask_ratio < 1, "mask_ratio", self.mask_ratio, "between 0 and 1")
        check(self.block >= 2, "block", self.block, "at least 2 pixels")
        check(self.decoder_width >= 1, "decoder_width", self.decoder_width, "at least 1")


class ResMAE(MaskedReconstruction):
    """A ResNet that is given images with zeroed blocks, and the light decoder on its last map."""

    Configuration = Configuration
    BACKBONE = "resnet18"

    def __init__(
        self,
        configuration: Configuration,
        encoder: AnyEncoderConfiguration,
        decoder: DecoderConfiguration,
        seed: int,
    ) -> None:
        """decoder: that of vision transformers, not used. Raises UsageError: no ResNet, blocks that do not fit."""
        from timm.models.resnet import ResNet

        super().__init__(
            encoder,
            ResNet,
            "resnet18 or resnet50",
            configuration.block,
            configuration.mask_ratio,
            configuration.norm_pixels,
            seed,
        )
        self.configuration = configuration
        channels, stride = self.levels[-1]
        self.decoder = LightDecoder([channels], stride, configuration.decoder_width, seed + 1)

    def rebuild(self, images: Tensor, visible: Tensor) -> Tensor:
        """Images (B, 1, S, S) of which the blocks visible (B, 1, G, G) may be seen -> images (B, 1, S, S)."""
        # Zero is the data set's mean gray.
        return self.decoder([stage_features(self.encoder.body, hide(images, visible))[-1]])

    @classmethod
    def preset(cls, name: str, base: PretrainingConfiguration) -> PretrainingConfiguration:
        """``base`` with our values, at a side that the blocks fit.

        "paper" is "default": of this pre-training nothing but the kind of network and of task is public.
        """
        if name == "tiny":
            # Minutes on a processor: 64 pixels are 2 x 2 blocks of 32, hence blocks of 16.
            return replace(
                base,
                settings=replace(base.settings, block=16, decoder_width=256),
                encoder=fitting_side(base.encoder, largest=128),
                optimization=replace(base.optimization, learning_rate=1e-3),
            )
        optimization = replace(base.optimization, learning_rate=1.5e-4)
        return replace(base, encoder=fitting_side(base.encoder), optimization=optimization)
