"""MAE: a masked autoencoder.

He et al., CVPR 2022, arXiv 2111.06377: most patches of an image are hidden, a vision transformer encodes the visible
ones, a small decoder predicts the pixels of the hidden ones. Patch size (the encoder's ``patch_size``, any divisor of
the image's side) and mask ratio are free: for breast ultrasound both are adapted, so that a small lesion is not hidden
whole (methods.md, section 6.2). The number of hidden patches is rounded, where the published code cuts: they differ by
one at some ratios, not at 75 % of 196. The 2-D position code orders its channels otherwise, which changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from MAEMCLib.errors import UsageError
from MAEMCLib.networks.configuration import DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.decoder import Decoder
from MAEMCLib.networks.masking import hidden_count, patchify, split_tokens
from MAEMCLib.networks.vit import ViT
from torch import Tensor, nn

from ..configuration import PretrainingConfiguration
from ..method import Method
from ..parts.losses import masked_mse
from ..parts.settings import check, own_transformer

if TYPE_CHECKING:
    from ..method import ViewBatch

_EPSILON = 1e-6  # of a patch's variance: a patch of one gray value has none


@dataclass(frozen=True)
class Configuration:
    """The settings of MAE. Raises UsageError for values that make no sense."""

    # Share of patches hidden, rounded half up on exact numbers; 0.75 is He et al.'s choice for photographs.
    mask_ratio: float = 0.75
    # True: what is predicted is each patch minus its own mean, over its own deviation (He et al., section 4.1). Then
    # the network predicts no gray values, and a bundle gets no autoencoder.
    norm_pixels: bool = False

    def __post_init__(self) -> None:
        check(0 < self.mask_ratio < 1, "mask_ratio", self.mask_ratio, "between 0 and 1")


def standardized(patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Patches (B, N, P) with their own mean 0 and deviation 1, and these means and deviations (B, N, 1).

    The variance is the unbiased one, as in the authors' code.
    """
    mean = patches.mean(dim=-1, keepdim=True)
    deviation = (patches.var(dim=-1, keepdim=True) + _EPSILON).sqrt()
    return (patches - mean) / deviation, mean, deviation


class MAE(Method):
    """Encoder and decoder; the loss is the mean squared error over the pixels of the hidden patches."""

    Configuration = Configuration
    VIEWS = "one"

    def __init__(
        self, configuration: Configuration, encoder: EncoderConfiguration, decoder: DecoderConfiguration, seed: int
    ) -> None:
        """Raises UsageError: another encoder than MAEMC's, a mask that leaves no patch visible or none hidden."""
        super().__init__()
        self.configuration = configuration
        own_transformer(encoder, "mae")
        self.mask_cells = encoder.tokens
        self.hidden = hidden_count(encoder.tokens, configuration.mask_ratio)
        if configuration.norm_pixels and encoder.patch_pixels < 2:
            raise UsageError("A patch of one pixel has no deviation: norm_pixels needs a larger patch_size.", "setting")
        self.encoder = ViT(encoder, seed)
        self.decoder = Decoder(encoder, decoder, seed + 1)

    def forward(self, batch: ViewBatch) -> tuple[dict[str, Tensor], None]:
        """The loss of one share: "loss" with its gradient, and the same as "loss_mse"."""
        images = batch.images[0]
        keep, hidden = split_tokens(batch.noise[:, 0], self.hidden)
        target = patchify(images, self.encoder.configuration.patch_size)
        if self.configuration.norm_pixels:
            target = standardized(target)[0]
        loss = masked_mse(self.decoder(self.encoder(images, keep), keep), target, hidden)
        return {"loss": loss, "loss_mse": loss.detach()}, None

    def autoencoder_state(self) -> dict[str, Tensor]:
        """ "encoder.*", "decoder.*", and as "momentum_encoder.*", which rebuilds coronal planes, the same encoder."""
        return twofold_state(self)

    @torch.no_grad()
    def reconstruct(self, images: Tensor, noise: Tensor, plane: str = "axial") -> tuple[Tensor, Tensor]:
        """Reconstruct images (B, 1, S, S) masked by noise (B, N); see ``rebuild``. Every plane has the one encoder."""
        return rebuild(self, images, noise)

    @classmethod
    def preset(cls, name: str, base: PretrainingConfiguration) -> PretrainingConfiguration:
        """``base`` with MAE's values."""
        if name == "tiny":
            # Minutes on two cores. Less is hidden than of photographs of 196 patches: these have 64 or 100.
            return replace(base, settings=replace(base.settings, mask_ratio=0.6))
        if name in ("paper", "paper-schedule"):
            # He et al. 2022, table 8: 800 epochs, AdamW (0.9, 0.95), decay 0.05, warm-up of 40 epochs, cosine, 75 %
            # hidden, standardized patches. Differs: batch 64 instead of 4096, and the rate with it (1.5e-4 for 256);
            # the gradient clip is ours; the augmentation is that of the data's kind.
            optimization = replace(base.optimization, learning_rate=1.5e-4 * base.batch / 256, warmup_fraction=0.05)
            settings = replace(base.settings, norm_pixels=True)
            return replace(base, settings=settings, epochs=800, optimization=optimization)
        return base


def twofold_state(method: nn.Module) -> dict[str, Tensor]:
    """The autoencoder's tensors of a method whose one encoder rebuilds both planes; {} where patches are standardized.

    The second encoder's tensors are copies: a file of tensors holds no two names for the same memory.
    """
    if method.configuration.norm_pixels:
        return {}
    state = {f"encoder.{name}": tensor for name, tensor in method.encoder.state_dict().items()}
    state |= {f"momentum_{name}": tensor.clone() for name, tensor in state.items()}
    return state | {f"decoder.{name}": tensor for name, tensor in method.decoder.state_dict().items()}


def rebuild(method: nn.Module, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The images (B, 1, S, S) as a method's encoder and decoder rebuild them from what noise (B, N) leaves visible.

    Returns the prediction (B, N, P) of all patches in the images' gray values and the indices (B, H) of the hidden
    ones. With ``norm_pixels`` each patch gets the mean and the deviation that it has in the image: they were not
    predicted.
    """
    keep, hidden = split_tokens(noise, method.hidden)
    prediction = method.decoder(method.encoder(images, keep), keep)
    if method.configuration.norm_pixels:
        _, mean, deviation = standardized(patchify(images, method.encoder.configuration.patch_size))
        prediction = prediction * deviation + mean
    return prediction, hidden
