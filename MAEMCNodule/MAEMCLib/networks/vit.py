"""The encoder: a vision transformer on plain torch, with timm's parameter names."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from .configuration import EncoderConfiguration
from .layers import NORM_EPSILON, Block, initialize, position_code
from .masking import gather_tokens, observed_patches, patchify


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


class SliceEmbedding(nn.Module):
    """Whole slices -> tokens by a small convolutional network, the same for all of them.

    Three stages of two 3 x 3 convolutions, each halving the side, then the mean over the slice. Group normalization
    knows one slice alone: what is masked has no influence on what is visible.
    """

    STAGES = (32, 64, 128)

    def __init__(self, side: int, width: int, seed: int) -> None:
        super().__init__()
        self.side = side
        layers: list[nn.Module] = []
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            for before, channels in pairwise((1, *self.STAGES)):
                layers += [
                    nn.Conv2d(before, channels, 3, stride=2, padding=1, bias=False),
                    nn.GroupNorm(8, channels),
                    nn.GELU(),
                    nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                    nn.GroupNorm(8, channels),
                    nn.GELU(),
                ]
            self.body = nn.Sequential(*layers)
            self.proj = nn.Linear(self.STAGES[-1], width)

    def maps(self, slices: Tensor) -> Tensor:
        """(M, P) slices as patch vectors -> (M, C, S / 8, S / 8) the last stage."""
        return self.body(slices.reshape(-1, 1, self.side, self.side))

    def forward(self, slices: Tensor) -> Tensor:
        """(..., P) -> (..., width)."""
        return self.proj(self.maps(slices).mean(dim=(2, 3))).unflatten(0, slices.shape[:-1])


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
        convolutional = configuration.embedding == "convolutional"
        self.patch_embed = None if convolutional else PatchEmbedding(configuration.patch_size, width)
        self.blocks = nn.ModuleList(
            Block(width, configuration.heads, configuration.mlp_ratio) for _ in range(configuration.depth)
        )
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        initialize(self, seed)
        if convolutional:  # its own layers keep the values that suit convolutions
            self.patch_embed = SliceEmbedding(configuration.patch_size, width, seed)

    def embed(
        self, images: Tensor, keep: Tensor | None = None, shown: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """(B, 1, S, S) -> tokens before the first block, class token first; ``keep`` and ``shown`` as in ``forward``.

        With them (B, T) bool, which of the tokens there are; None: all.
        """
        patches = patchify(images, self.configuration.patch_size)
        position = self.pos_embed[:, 1:]
        if keep is None and self.configuration.offsets:
            keep = torch.tensor(self.configuration.shown, device=images.device).expand(len(images), -1)
        if keep is not None:
            patches = gather_tokens(patches, keep)
            position = position[0][keep]
        present = observed_patches(patches)
        if shown is not None:
            present = present & shown
        if present.all():
            tokens, present = self.patch_embed(patches), None
        else:
            made = self.patch_embed(patches[present])
            tokens = made.new_zeros(*patches.shape[:2], made.shape[-1])
            tokens[present] = made
            present = functional.pad(present, (1, 0), value=True)
        tokens = tokens + position
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        return torch.cat([first.to(tokens.dtype), tokens], dim=1), present

    def forward(self, images: Tensor, keep: Tensor | None = None, shown: Tensor | None = None) -> Tensor:
        """Encode images (B, 1, S, S), normalized gray values; a patch that was not observed is NaN and makes no token.

        keep: (B, K) indices of the visible patches; only they are computed. None: all that the configuration shows.
        shown: (B, K) bool, which of them count; None: all.
        Returns (B, 1 + K or 1 + N, width) after the final norm, class token first, then patches in the order of keep;
        what stands in the places of patches that do not count means nothing.
        """
        tokens, present = self.embed(images, keep, shown)
        for block in self.blocks:
            tokens = block(tokens, present)
        return self.norm(tokens)

    def features(self, images: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, width): the class token, all patches visible that were observed and are shown."""
        return self(images)[:, 0]

    @torch.no_grad()
    def attention(self, images: Tensor) -> list[Tensor]:
        """The attention weights of every block for unmasked images (B, 1, S, S), first block first.

        Each (B, heads, 1 + N, 1 + N); rows sum to 1; index 0 is the class token. For attention rollout.
        """
        tokens, present = self.embed(images)
        weights = []
        for block in self.blocks:
            weights.append(block.attn.weights(block.norm1(tokens), present))
            tokens = block(tokens, present)
        return weights
