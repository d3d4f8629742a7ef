"""The decoder: visible tokens -> the pixels of every patch."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .configuration import DecoderConfiguration, EncoderConfiguration
from .layers import NORM_EPSILON, Block, Linear, initialize, position_code


class Decoder(nn.Module):
    """Reconstruction decoder (Zhao et al. 2025, section 3.3; He et al. 2022).

    Projects the encoder's tokens to its own width, puts one shared learnable mask token at every masked place, adds
    the position code again, and predicts the pixels of each patch.
    """

    def __init__(self, encoder: EncoderConfiguration, configuration: DecoderConfiguration, seed: int = 0) -> None:
        super().__init__()
        self.configuration = configuration
        width = configuration.width
        self.embed = Linear(encoder.width, width)
        self.mask_token = nn.Parameter(torch.empty(1, 1, width))
        self.register_buffer("pos_embed", position_code(encoder, width), persistent=False)
        self.blocks = nn.ModuleList(
            Block(width, configuration.heads, configuration.mlp_ratio) for _ in range(configuration.depth)
        )
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.predict = Linear(width, encoder.patch_pixels)
        initialize(self, seed)

    def forward(
        self, tokens: Tensor, keep: Tensor, shown: Tensor | None = None, observed: Tensor | None = None
    ) -> Tensor:
        """Tokens (B, 1 + K, encoder width) of the patches keep (B, K), class token first -> (B, N, patch pixels).

        shown: (B, K) bool, which of keep were really encoded; observed: (B, N) bool, the patches that there are at all;
        None: all. The prediction is in the units of the encoder's input; it covers visible and masked patches alike.
        """
        embedded = self.embed(tokens)
        visible, masked = embedded[:, 1:], self.mask_token.to(embedded.dtype)
        if shown is not None:
            visible = torch.where(shown.unsqueeze(-1), visible, masked)
        places = keep.unsqueeze(-1).expand(-1, -1, embedded.shape[-1])
        full = masked.expand(len(tokens), self.pos_embed.shape[1] - 1, -1)
        full = full.scatter(1, places, visible)
        full = torch.cat([embedded[:, :1], full], dim=1) + self.pos_embed
        present = None if observed is None else functional.pad(observed, (1, 0), value=True)
        for block in self.blocks:
            full = block(full, present)
        return self.predict(self.norm(full[:, 1:]))
