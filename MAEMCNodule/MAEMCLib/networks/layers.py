"""What encoder and decoder are built from: transformer blocks, fixed position codes, seeded initial values."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .configuration import TILES, EncoderConfiguration

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
