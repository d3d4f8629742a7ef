"""The encoder: a vision transformer on plain torch, with timm's parameter names."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .configuration import EncoderConfiguration
from .layers import NORM_EPSILON, Block, initialize, position_code
from .masking import gather_tokens, patchify


class _PatchProjection(nn.Conv2d):
    """Weight and bias in a convolution's shapes, as timm stores them; values are left to ``initialize``."""

    def reset_parameters(self) -> None:
        pass


class PatchEmbedding(nn.Module):
    """Patch vectors -> tokens by one linear map."""

    def __init__(self, patch_size: int, width: int) -> None:
        super().__init__()
        self.proj = _PatchProjection(1, width, patch_size, patch_size)

    def forward(self, patches: Tensor) -> Tensor:
        # A convolution whose stride is its kernel is this matrix product. As a product it runs on the visible patches
        # alone, before anything is computed for the masked ones.
        return functional.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


class ViT(nn.Module):
    """Vision transformer for one-channel montages (Zhao et al. 2025, section 3.3; Dosovitskiy et al. 2021).

    Class token, fixed position code, pre-norm blocks, final norm. State dict keys equal those of timm's
    ``VisionTransformer`` except ``pos_embed``: the code is computed from the configuration, never trained and never
    stored. Built under ``torch.device("meta")`` the network takes no memory until it is filled by
    ``load_state_dict(..., assign=True)``.
    """

    def __init__(self, configuration: EncoderConfiguration, seed: int = 0) -> None:
        super().__init__()
        self.configuration = configuration
        self.width = width = configuration.width
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.register_buffer("pos_embed", position_code(configuration, width), persistent=False)
        self.patch_embed = PatchEmbedding(configuration.patch_size, width)
        self.blocks = nn.ModuleList(
            Block(width, configuration.heads, configuration.mlp_ratio) for _ in range(configuration.depth)
        )
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        initialize(self, seed)

    def embed(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        """(B, 1, S, S) -> tokens before the first block, class token first; ``keep`` as in ``forward``."""
        patches = patchify(images, self.configuration.patch_size)
        position = self.pos_embed[:, 1:]
        if keep is not None:
            patches = gather_tokens(patches, keep)
            position = position[0][keep]
        tokens = self.patch_embed(patches) + position
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        return torch.cat([first.to(tokens.dtype), tokens], dim=1)

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        """Encode images (B, 1, S, S), normalized gray values.

        keep: (B, K) indices of the visible patches; only they are computed. None: all patches.
        Returns (B, 1 + K or 1 + N, width) after the final norm, class token first, then patches in the order of keep.
        """
        tokens = self.embed(images, keep)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def features(self, images: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, width): the class token, all patches visible."""
        return self(images)[:, 0]

    @torch.no_grad()
    def attention(self, images: Tensor) -> list[Tensor]:
        """The attention weights of every block for unmasked images (B, 1, S, S), first block first.

        Each (B, heads, 1 + N, 1 + N); rows sum to 1; index 0 is the class token. For attention rollout.
        """
        tokens = self.embed(images)
        weights = []
        for block in self.blocks:
            weights.append(block.attn.weights(block.norm1(tokens)))
            tokens = block(tokens)
        return weights
