"""What a bundle's autoencoder makes of images whose patches are masked."""

import torch
from torch import nn

from ..errors import ModelError
from ..networks.configuration import DecoderConfiguration, EncoderConfiguration
from ..networks.decoder import Decoder
from ..networks.masking import masked_count, split_tokens, unpatchify
from ..networks.vit import ViT
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

    def predict(self, images: torch.Tensor, noise: torch.Tensor, masked: int, plane: str) -> tuple:
        """(B, 1, S, S) and (B, N) -> predicted patches (B, N, P) and a mask (B, N, 1), 1 where the patch was masked."""
        keep, _ = split_tokens(noise, masked)
        encoder = self.momentum_encoder if plane == "coronal" else self.encoder
        patches = self.decoder(encoder(images, keep), keep)
        return patches, torch.ones(*noise.shape, 1).scatter(1, keep.unsqueeze(-1), 0.0)


def load_autoencoder(predictor: Predictor) -> Autoencoder | None:
    """The bundle's autoencoder, on the CPU; None where the bundle has none. Raises ModelError for one that cannot be
    used."""
    card = predictor.card
    if not card.members("decoder"):
        return None
    encoder, decoder = card.encoder, card.decoder
    if decoder is None or not isinstance(encoder, EncoderConfiguration):
        raise ModelError(f"The card of {card.id} does not describe its autoencoder. Get the model again.", "decoder")
    autoencoder = load_members(predictor.bundle, "decoder", lambda: Autoencoder(encoder, decoder))[0].float()
    if not all(bool(torch.isfinite(tensor).all()) for tensor in autoencoder.state_dict().values()):
        raise ModelError(
            f"The autoencoder of {card.id} holds values that are not numbers. Get the model again from its source.",
            "decoder",
        )
    return autoencoder


@torch.inference_mode()
def reconstruct(autoencoder: Autoencoder, images: torch.Tensor, plane: str) -> torch.Tensor:
    """(B, 1, S, S) normalized -> (B, 1, S, S): each patch the mean of its predictions over the masks that covered it.

    Masks come in complementary pairs: what one shows the other masks, so that every patch is predicted unseen.
    """
    tokens = autoencoder.encoder.configuration.tokens
    masked = masked_count(tokens, MASK_RATIO)
    generator = torch.Generator().manual_seed(SEED)
    total, times = 0.0, 0.0
    for _ in range(ROUNDS):
        noise = torch.rand(1, tokens, generator=generator).expand(len(images), -1)
        for draw, count in ((noise, masked), (-noise, tokens - masked)):
            patches, unseen = autoencoder.predict(images, draw, count, plane)
            total, times = total + patches * unseen, times + unseen
    return unpatchify(total / times)
