"""SparK: masked pre-training of a ResNet with exactly masked convolutions.

Tian et al., ICLR 2023, arXiv 2301.03580; the masked method of Less is More (Wolf et al. 2024, 10.1016/
j.compbiomed.2024.109242). Cells of 32 pixels are hidden; the encoder computes the visible ones alone, at every
resolution; at each of its four stages the hidden places are filled with an embedding that is learned, and a light
decoder rebuilds the image from all four.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from MAEMCLib.networks.configuration import DecoderConfiguration
from MAEMCLib.networks.encoders import AnyEncoderConfiguration
from torch import Tensor, nn

from ..parts.cnn_decoder import LightDecoder, seeded
from ..parts.masked_convolutions import hide, level_mask, masked, stage_features
from ..parts.masked_reconstruction import MaskedReconstruction, MaskSettings

if TYPE_CHECKING:
    from ..configuration import PretrainingConfiguration


@dataclass(frozen=True)
class Configuration(MaskSettings):
    """The settings of SparK; the decoder's channels are those at the coarsest map, halved at each doubling."""

    decoder_width: int = 768


class SparK(MaskedReconstruction):
    """A ResNet, its masked forward pass, mask embeddings for each stage, and the light decoder."""

    Configuration = Configuration
    BACKBONE = "resnet18"
    PAPER_BACKBONE = "resnet50"

    def __init__(
        self,
        configuration: Configuration,
        encoder: AnyEncoderConfiguration,
        decoder: DecoderConfiguration,
        seed: int,
    ) -> None:
        """decoder: that of vision transformers, not used. Raises UsageError: no ResNet, a mask that does not fit."""
        from timm.models.resnet import ResNet

        super().__init__(configuration, encoder, ResNet, "resnet18 or resnet50", seed)
        channels = [count for count, _ in reversed(self.levels)]
        # What the stages give is brought to one scale before embeddings of one scale stand beside it.
        self.norms = nn.ModuleList(nn.BatchNorm2d(count) for count in channels)
        self.decoder = LightDecoder(channels, self.grid.stride, configuration.decoder_width, seed + 1)
        with seeded(seed + 2):
            self.mask_embeddings = nn.ParameterList(
                nn.init.trunc_normal_(torch.empty(1, count, 1, 1), std=0.02, a=-0.02, b=0.02) for count in channels
            )

    def rebuild(self, images: Tensor, visible: Tensor) -> Tensor:
        """Images (B, 1, S, S) of which the cells visible (B, 1, G, G) may be seen -> images (B, 1, S, S)."""
        with masked(visible, self.encoder.body, self.norms):
            stages = stage_features(self.encoder.body, hide(images, visible))
            maps = [norm(stage) for norm, stage in zip(self.norms, reversed(stages), strict=True)]
        filled = [
            torch.where(level_mask(visible, level.shape[-1]), level, embedding.to(level.dtype))
            for level, embedding in zip(maps, self.mask_embeddings, strict=True)
        ]
        return self.decoder(filled)

    @classmethod
    def preset(cls, name: str, base: PretrainingConfiguration) -> PretrainingConfiguration:
        """``base`` with SparK's values, at a side that the mask fits."""
        base = super().preset(name, base)
        if name not in ("paper", "paper-schedule"):
            return base
        # Less is More prints ResNet-50, mask 60 %, LAMB and batches of 32. The rest is SparK's: a rate of 2e-4 for
        # 256 images, decay 0.04 (there it grows to 0.2), betas (0.9, 0.95), gradients cut at 5, warm-up in 40 of
        # 1600 epochs, cosine. 800 epochs as Less is More's SwAV. Differs on montages: 256 pixels.
        optimization = replace(
            base.optimization,
            optimizer="lamb",
            learning_rate=2e-4 * 32 / 256,
            schedule="cosine",
            warmup_fraction=0.025,
            weight_decay=0.04,
            betas=(0.9, 0.95),
            gradient_clip=5.0,
        )
        return replace(base, epochs=800, batch=32, optimization=optimization)
