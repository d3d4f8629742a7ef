"""MAE: a masked autoencoder.

He et al., CVPR 2022, arXiv 2111.06377: most patches of an image are hidden, a vision transformer encodes the visible
ones, a small decoder predicts the pixels of the hidden ones. Patch size (the encoder's ``patch_size``, any divisor of
the image's side) and mask ratio are free: for breast ultrasound both are adapted, so that a small lesion is not hidden
whole (methods.md, section 6.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from MAEMCLib.errors import UsageError
from MAEMCLib.networks.configuration import DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.decoder import Decoder
from MAEMCLib.networks.masking import hidden_count, patchify, split_tokens
from MAEMCLib.networks.vit import ViT
from torch import Tensor, nn

from ..configuration import Optimization, PretrainingConfiguration
from .losses import masked_mse
from .settings import check

if TYPE_CHECKING:
    from . import ViewBatch

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


def vision_transformer(method: str, encoder: object) -> EncoderConfiguration:
    """The encoder's settings, if they are of MAEMC's own vision transformer. Raises UsageError for a backbone."""
    if not isinstance(encoder, EncoderConfiguration):
        name = getattr(encoder, "backbone", encoder)
        raise UsageError(
            f"{method} leaves hidden patches out of the encoder, which only MAEMC's own vision transformer can do, not "
            f"{name}. Leave encoder.backbone out, or choose resmae or spark for a ResNet, fcmae for a ConvNeXt V2.",
            "encoder",
        )
    return encoder


def standardized(patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Patches (B, N, P) with their own mean 0 and deviation 1, and these means and deviations (B, N, 1).

    The variance is the unbiased one, as in the authors' code.
    """
    mean = patches.mean(dim=-1, keepdim=True)
    deviation = (patches.var(dim=-1, keepdim=True) + _EPSILON).sqrt()
    return (patches - mean) / deviation, mean, deviation


class MAE(nn.Module):
    """Encoder and decoder; the loss is the mean squared error over the pixels of the hidden patches."""

    Configuration = Configuration
    VIEWS = "one"

    def __init__(
        self, configuration: Configuration, encoder: EncoderConfiguration, decoder: DecoderConfiguration, seed: int
    ) -> None:
        """Raises UsageError: another encoder than MAEMC's, a mask that leaves no patch visible or none hidden."""
        super().__init__()
        self.configuration = configuration
        encoder = vision_transformer("mae", encoder)
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

    def before_step(self) -> None:
        """Nothing moves besides what the optimizer moves."""

    def after_step(self, kept: list[None]) -> None:
        """Nothing is kept."""

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and parameters: all."""
        return self.named_parameters()

    def encoder_state(self) -> dict[str, Tensor]:
        """The encoder's tensors, named as ``ViT.state_dict()``."""
        return self.encoder.state_dict()

    def autoencoder_state(self) -> dict[str, Tensor]:
        """ "encoder.*", "decoder.*", and as "momentum_encoder.*", which rebuilds coronal planes, the same encoder."""
        return twofold_state(self)

    @torch.no_grad()
    def reconstruct(self, images: Tensor, noise: Tensor, plane: str = "axial") -> tuple[Tensor, Tensor]:
        """Reconstruct images (B, 1, S, S) masked by noise (B, N); every plane goes through the one encoder.

        Returns the prediction (B, N, P) of all patches in the images' gray values and the indices (B, H) of the hidden
        ones. With ``norm_pixels`` each patch gets the mean and the deviation that it has in the image: they were not
        predicted.
        """
        keep, hidden = split_tokens(noise, self.hidden)
        prediction = self.decoder(self.encoder(images, keep), keep)
        if self.configuration.norm_pixels:
            _, mean, deviation = standardized(patchify(images, self.encoder.configuration.patch_size))
            prediction = prediction * deviation + mean
        return prediction, hidden

    @classmethod
    def preset(cls, name: str, base: PretrainingConfiguration) -> PretrainingConfiguration:
        """``base`` with MAE's values. See ``picture_network`` for the networks of pictures."""
        base = picture_network(name, base)
        if name == "tiny":
            # Minutes on two cores: many small steps. Fewer patches hidden than of photographs: there are only 64.
            settings = replace(base.settings, mask_ratio=0.6)
            return replace(base, settings=settings, optimization=Optimization(learning_rate=1e-3))
        if name in ("paper", "paper-schedule"):
            # He et al. 2022, table 8: 800 epochs, AdamW (0.9, 0.95), decay 0.05, warm-up of 40 epochs, cosine, 75 %
            # hidden, standardized patches. Differs: batch 64 instead of 4096, the rate scaled with it (1.5e-4 for
            # 256); the gradient clip is ours; on montages the network and the augmentation stay MAEMC-NET's.
            optimization = Optimization(learning_rate=1.5e-4 * base.batch / 256, warmup_fraction=0.05)
            settings = replace(base.settings, mask_ratio=0.75, norm_pixels=True)
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


def picture_network(name: str, base: PretrainingConfiguration) -> PretrainingConfiguration:
    """``base`` with a vision transformer for pictures; montages (250 pixels a side) keep the one they have.

    tiny: 64 pixels, patches of 8, width 128, 4 blocks. Others: ViT-Base with patches of 16, or of the largest divisor
    of the side below. The position code is that of rows and columns.
    """
    encoder = base.encoder
    if not isinstance(encoder, EncoderConfiguration) or encoder.image_size == EncoderConfiguration().image_size:
        return base
    if name == "tiny":
        small = EncoderConfiguration(image_size=64, patch_size=8, width=128, depth=4, heads=4, position="2d")
        return replace(base, encoder=small, decoder=DecoderConfiguration(width=64, depth=2, heads=4))
    side = encoder.image_size
    patch = max(size for size in range(1, 17) if side % size == 0)
    base_size = EncoderConfiguration(image_size=side, patch_size=patch, width=768, depth=12, heads=12, position="2d")
    return replace(base, encoder=base_size, decoder=DecoderConfiguration())
