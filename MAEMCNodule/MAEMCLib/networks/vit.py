"""The vision transformer on plain torch, with timm's parameter names: its layers, the encoder, and the decoder that
reconstructs patches from its tokens. ``build_encoder`` makes it, or a backbone of timm."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .backbones import Backbone
from .configuration import (
    TILES,
    AnyEncoderConfiguration,
    BackboneConfiguration,
    DecoderConfiguration,
    EncoderConfiguration,
)


def observed_patches(patches: Tensor) -> Tensor:
    """(B, N, P) -> (B, N) bool: the patches that there is something of. What was not observed is NaN."""
    return patches[..., 0].isfinite()


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """(B, 1, S, S) -> (B, N, patch_size * patch_size), patches and their pixels in row-major order.

    With patches of one tile the N vectors of a montage are its slices in their order (``MAEMCLib.inputs.nodule``).
    """
    return functional.pixel_unshuffle(images, patch_size).flatten(2).transpose(1, 2).contiguous()


def unpatchify(patches: Tensor) -> Tensor:
    """(B, N, P) -> (B, 1, S, S): the inverse of ``patchify`` for square grids of square patches."""
    grid, patch_size = (math.isqrt(count) for count in patches.shape[1:])
    return functional.pixel_shuffle(patches.transpose(1, 2).unflatten(2, (grid, grid)), patch_size)


def gather_tokens(tokens: Tensor, indices: Tensor) -> Tensor:
    """(B, N, W) and (B, K) -> (B, K, W): the tokens of each sample at its own indices."""
    return tokens.gather(1, indices.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


NORM_EPSILON = 1e-6  # the usual value of vision transformers, and timm's; torch's own default is 1e-5


class Linear(nn.Linear):
    """A linear layer that leaves its values to ``initialize``: drawing 300 million numbers twice takes seconds."""

    def reset_parameters(self) -> None:
        pass


class Attention(nn.Module):
    """Multi-head self-attention with one matrix for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(width, 3 * width)
        self.proj = Linear(width, width)

    def split(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, W) -> queries, keys and values, each (B, heads, T, W / heads)."""
        batch, length, width = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, length, 3, self.heads, width // self.heads)
        return qkv.permute(2, 0, 3, 1, 4).unbind(0)

    def forward(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """present: (B, T) bool, the tokens that may be looked at; None: all."""
        query, key, value = self.split(tokens)
        mask = None if present is None else present[:, None, None]
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.proj(mixed.transpose(1, 2).reshape(tokens.shape))

    def weights(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """softmax(Q K^T / sqrt(d)), (B, heads, T, T); row = the token that looks, column = the token looked at.

        The fused attention of ``forward`` never forms this matrix, so it is computed again, only where it is asked for.
        """
        query, key, _ = self.split(tokens)
        similar = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
        if present is not None:
            similar = similar.masked_fill(~present[:, None, None], float("-inf"))
        return similar.softmax(dim=-1)


class Perceptron(nn.Module):
    """Two linear layers with the exact (error function) GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = Linear(width, hidden)
        self.fc2 = Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(tokens)))


class Block(nn.Module):
    """A pre-norm transformer block; parameters named as timm names them."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.mlp = Perceptron(width, int(width * mlp_ratio))

    def forward(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens), present)
        return tokens + self.mlp(self.norm2(tokens))


def sine_cosine(positions: np.ndarray, width: int) -> np.ndarray:
    """Zhao et al. 2025, equations 1 and 2: (N,) positions -> (N, width) float64.

    PE(pos, 2i) = sin(pos / 10000^(2i / width)), PE(pos, 2i + 1) = cos(pos / 10000^(2i / width)); width is even.
    """
    angles = positions[:, None] / 10000.0 ** (np.arange(0, width, 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(len(positions), width)


def position_code(configuration: EncoderConfiguration, width: int) -> Tensor:
    """The fixed position code of the class token and all patches, (1, 1 + N, width) float32 on the CPU.

    "1d": the sine-cosine of the token index, the class token being token 0 and slice k token k + 1.
    "2d": half of the width codes the row and half the column of the grid. "3d": half codes the slice, a quarter the row
    and a quarter the column inside it. In both the class token, which has no place on the grid, gets zeros.
    """
    if configuration.position == "1d":
        code = sine_cosine(np.arange(configuration.tokens + 1, dtype=np.float64), width)
    else:
        rows, columns = np.divmod(np.arange(configuration.tokens), configuration.grid)
        if configuration.position == "2d":
            parts = [(rows, width // 2), (columns, width // 2)]
        else:
            inside = configuration.grid // TILES  # patches along a slice
            slices = TILES * (rows // inside) + columns // inside
            parts = [(slices, width // 2), (rows % inside, width // 4), (columns % inside, width // 4)]
        code = np.concatenate([sine_cosine(places, share) for places, share in parts], axis=1)
        code = np.concatenate([np.zeros((1, width)), code])
    # from_numpy stays on the CPU under torch.device("meta") too: a network built there and filled by
    # load_state_dict(assign=True) is complete, although the code is not part of its state.
    return torch.from_numpy(code.astype(np.float32)).unsqueeze(0)


@torch.no_grad()
def initialize(module: nn.Module, seed: int, deviation: float | None = None) -> None:
    """Draw the initial values of all parameters from ``seed`` alone; torch's global generators are not touched.

    Matrices (the patch embedding too, as the linear map that it is): uniform after Glorot and Bengio 2010. Tokens:
    normal with deviation 0.02. Biases 0, normalization 1 and 0. Drawn on the CPU, so that every device starts from
    the same values; parameters on the "meta" device are left alone. ``deviation``: matrices normal with this deviation
    instead.
    """
    generator = torch.Generator().manual_seed(seed)
    norms = {id(p) for m in module.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters()}
    for name, parameter in module.named_parameters():
        if parameter.is_meta or id(parameter) in norms:
            continue
        drawn = torch.zeros(parameter.shape, device="cpu")
        if name.endswith("token") or (deviation is not None and not name.endswith("bias")):
            drawn.normal_(0.0, 0.02 if deviation is None else deviation, generator=generator)
        elif not name.endswith("bias"):
            limit = (6.0 / (len(parameter) + parameter.numel() // len(parameter))) ** 0.5
            drawn.uniform_(-limit, limit, generator=generator)
        parameter.copy_(drawn)


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


def build_encoder(configuration: AnyEncoderConfiguration, seed: int = 0) -> nn.Module:
    """The network, its values drawn from ``seed`` alone. Raises ModelError."""
    if isinstance(configuration, BackboneConfiguration):
        return Backbone(configuration, seed)
    return ViT(configuration, seed)
