"""FCMAE: the fully convolutional masked autoencoder of ConvNeXt V2.

Woo et al., CVPR 2023, arXiv 2301.00808, section 3.1. Cells of 32 pixels, 60 %, are masked; the encoder computes the
visible ones alone; the places of its last map that are masked are filled with a learned token, one ConvNeXt block and a
linear layer predict the pixels, and the masked cells count, each about its own mean in its own deviation.

The published sparse code normalizes responses (GRN) over the visible places of the whole batch. Here it is done over
those of each image, as the dense network does that is fine-tuned afterwards. Of 49 cells at 60 % 29 are masked, rounded
as everywhere here; the published code, which counts the visible ones and cuts, masks 30.
"""

import torch
from MAEMCLib.networks.configuration import DecoderConfiguration
from MAEMCLib.networks.vit import unpatchify
from torch import Tensor, nn

from ..parts.cnn_decoder import seeded
from ..parts.masked_convolutions import blank, level_mask, masked, stage_features
from ..parts.masked_reconstruction import MaskedReconstruction


class FCMAE(MaskedReconstruction):
    """A ConvNeXt V2, its masked forward pass, the mask token, and a decoder of one block."""

    def add_parts(self, decoder: DecoderConfiguration, seed: int) -> None:
        from timm.models.convnext import ConvNeXtBlock

        super().add_parts(decoder, seed)
        # The norm behind the global pooling, which is not pooled here: it starts with fine-tuning.
        self.encoder.body.head.requires_grad_(False)
        channels, stride = self.levels[-1]
        width = self.configuration.decoder_width
        with seeded(seed + 1):
            self.embed = nn.Conv2d(channels, width, 1)
            self.mask_token = nn.Parameter(torch.empty(1, width, 1, 1))
            self.block = ConvNeXtBlock(width, use_grn=True, ls_init_value=None)
            self.predict = nn.Conv2d(width, stride**2, 1)
            nn.init.normal_(self.mask_token, std=0.02)
            for layer in nn.ModuleList([self.embed, self.block, self.predict]).modules():
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    nn.init.trunc_normal_(layer.weight, std=0.02)
                    nn.init.zeros_(layer.bias)

    def complete(self, images: Tensor, visible: Tensor) -> Tensor:
        """Images (B, 1, S, S) of which the cells visible (B, 1, G, G) may be seen -> images (B, 1, S, S)."""
        with masked(visible, self.encoder.body):
            last = stage_features(self.encoder.body, blank(images, visible))[-1]
        places = self.embed(last)
        places = torch.where(level_mask(visible, places.shape[-1]), places, self.mask_token.to(places.dtype))
        # Each place of the last map predicts the stride x stride pixels below it.
        return unpatchify(self.predict(self.block(places)).flatten(2).transpose(1, 2))
