"""SparK: masked pre-training of a ResNet with exactly masked convolutions.

Tian et al., ICLR 2023, arXiv 2301.03580; the masked method of Less is More (Wolf et al. 2024, 10.1016/
j.compbiomed.2024.109242). Cells of 32 pixels are masked; the encoder computes the visible ones alone, at every
resolution; at each of its four stages the masked places are filled with an embedding that is learned, and a light
decoder reconstructs the image from all four.
"""

import torch
from MAEMCLib.networks.configuration import DecoderConfiguration
from torch import Tensor, nn

from ..parts.cnn_decoder import LightDecoder, seeded
from ..parts.masked_convolutions import blank, level_mask, masked, stage_features
from ..parts.masked_reconstruction import MaskedReconstruction


class SparK(MaskedReconstruction):
    """A ResNet, its masked forward pass, mask embeddings for each stage, and the light decoder."""

    def add_parts(self, decoder: DecoderConfiguration, seed: int) -> None:
        super().add_parts(decoder, seed)
        channels, stride = [count for count, _ in reversed(self.levels)], self.levels[-1][1]
        # What the stages give is brought to one scale before embeddings of one scale stand beside it.
        self.norms = nn.ModuleList(nn.BatchNorm2d(count) for count in channels)
        self.decoder = LightDecoder(channels, stride, self.configuration.decoder_width, seed + 1)
        with seeded(seed + 2):
            self.mask_embeddings = nn.ParameterList(
                nn.init.trunc_normal_(torch.empty(1, count, 1, 1), std=0.02, a=-0.02, b=0.02) for count in channels
            )

    def complete(self, images: Tensor, visible: Tensor) -> Tensor:
        """Images (B, 1, S, S) of which the cells visible (B, 1, G, G) may be seen -> images (B, 1, S, S)."""
        with masked(visible, self.encoder.body, self.norms):
            stages = stage_features(self.encoder.body, blank(images, visible))
            maps = [norm(stage) for norm, stage in zip(self.norms, reversed(stages), strict=True)]
        filled = [
            torch.where(level_mask(visible, level.shape[-1]), level, embedding.to(level.dtype))
            for level, embedding in zip(maps, self.mask_embeddings, strict=True)
        ]
        return self.decoder(filled)
