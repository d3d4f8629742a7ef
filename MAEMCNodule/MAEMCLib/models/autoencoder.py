"""What a bundle's autoencoder makes of images whose patches are masked."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from ..errors import ModelError
from ..inputs.input import Input
from ..networks.configuration import DecoderConfiguration, EncoderConfiguration
from ..networks.masking import Split, split_observed
from ..networks.vit import Decoder, ViT, observed_patches, patchify, unpatchify
from .predictor import Predictor, load_members

ROUNDS = 4
"""Pairs of complementary masks that are averaged; more change the result little."""
MASK_RATIO = 0.5
SEED = 20251


class Autoencoder(nn.Module):
    """The pre-trained part of a bundle; its own encoders, since fine-tuning has moved the classifier's away.

    The coronal plane is reconstructed by the momentum encoder with the shared decoder (Zhao et al. 2025, Table 6).
    """

    def __init__(self, encoder: EncoderConfiguration, decoder: DecoderConfiguration) -> None:
        super().__init__()
        self.encoder = ViT(encoder)
        self.momentum_encoder = ViT(encoder)
        self.decoder = Decoder(encoder, decoder)

    def predict(self, images: torch.Tensor, split: Split, plane: str) -> torch.Tensor:
        """(B, 1, S, S) -> predicted patches (B, N, P)."""
        encoder = self.momentum_encoder if plane == "coronal" else self.encoder
        tokens = encoder(images, split.keep, split.shown)
        return self.decoder(tokens, split.keep, split.shown, split.observed)


def load_autoencoder(predictor: Predictor) -> Autoencoder | None:
    """The bundle's autoencoder, on the CPU; None where the bundle has none. Raises ModelError for one that cannot be
    used."""
    card = predictor.card
    if not card.members("decoder"):
        return None
    encoder, decoder = card.encoder, card.decoder
    if decoder is None or not isinstance(encoder, EncoderConfiguration):
        raise ModelError(f"The card of {card.id} does not describe its autoencoder. Get the model again.", "decoder")
    encoder = replace(encoder, offsets=())  # it reconstructs all slices, whichever the classifier is shown
    with torch.device("meta"):
        network = Autoencoder(encoder, decoder)
    autoencoder = load_members(predictor.bundle, "decoder", network)[0].float()
    if not all(bool(torch.isfinite(tensor).all()) for tensor in autoencoder.state_dict().values()):
        raise ModelError(
            f"The autoencoder of {card.id} holds values that are not numbers. Get the model again from its source.",
            "decoder",
        )
    return autoencoder


@torch.inference_mode()
def reconstruct(autoencoder: Autoencoder, images: torch.Tensor, plane: str) -> torch.Tensor:
    """(B, 1, S, S) normalized -> (B, 1, S, S): each patch the mean of its predictions over the masks that covered it;
    NaN where nothing was observed.

    Masks come in complementary pairs: what one shows the other masks, so that every patch is predicted unseen.
    """
    configuration = autoencoder.encoder.configuration
    observed = observed_patches(patchify(images, configuration.patch_size))
    generator = torch.Generator().manual_seed(SEED)
    total, times = 0.0, 0.0
    for _ in range(ROUNDS):
        noise = torch.rand(1, configuration.tokens, generator=generator).expand(len(images), -1).to(images.device)
        first = split_observed(noise, MASK_RATIO, observed)
        for split in (first, first.complement):
            counted = torch.ones_like(split.masked, dtype=torch.float32)
            counted = counted if split.hidden is None else split.hidden.float()
            covered = torch.zeros_like(noise).scatter(1, split.masked, counted).unsqueeze(-1)
            total, times = total + autoencoder.predict(images, split, plane) * covered, times + covered
    return unpatchify(total / times)


@dataclass(frozen=True)
class Difference:
    """Of an image and its reconstruction, (side, side) in the input's own unit. expected: the reconstruction. absolute:
    how far the image is from it. mean: of what was observed."""

    expected: np.ndarray
    absolute: np.ndarray
    mean: float


def difference(kind: Input, settings: Any, image: np.ndarray, expected: np.ndarray) -> Difference:
    """image, expected: (side, side) as the network has them, the image NaN where nothing was observed. settings: of the
    input's preprocessing."""
    seen, restored = (kind.restored(values, settings) for values in (image, expected))
    absolute = np.abs(restored - seen)
    return Difference(restored, absolute, float(absolute[np.isfinite(image)].mean()))
