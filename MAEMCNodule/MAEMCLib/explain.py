"""What the autoencoder rebuilds, where it errs, and where the classifier looks: arrays in the region's geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from .errors import ModelError
from .montage import denormalise, from_montage
from .networks.configuration import DecoderConfiguration, EncoderConfiguration
from .networks.decoder import Decoder
from .networks.masking import hidden_count, split_tokens, unpatchify
from .networks.vit import ViT
from .predict import Predictor, build, configuration, montage
from .roi import NoduleROI

ROUNDS = 4
"""Pairs of complementary masks that are averaged; more change the picture little."""
MASK_RATIO = 0.5
SEED = 20251


@dataclass(frozen=True)
class Explanation:
    """Per plane, (25, 50, 50) float32 in the geometry of the region's stacks.

    reconstruction: HU; every patch as it was predicted while hidden, never copied from the input.
    error: HU, absolute difference to the input within the model's window. What the model finds unusual, not why a
    nodule should be malignant.
    attention: 0 ... 1, attention rollout from the class token, as coarse as the patches.
    """

    reconstruction: dict[str, np.ndarray]
    error: dict[str, np.ndarray]
    attention: dict[str, np.ndarray]


class Autoencoder(nn.Module):
    """The pre-trained part of a bundle; its own encoders, since fine-tuning has moved the classifier's away.

    The coronal plane is rebuilt by the momentum encoder with the shared decoder (Zhao et al. 2025, Table 6).
    """

    def __init__(self, encoder: EncoderConfiguration, decoder: DecoderConfiguration) -> None:
        super().__init__()
        self.encoder = ViT(encoder)
        self.momentum_encoder = ViT(encoder)
        self.decoder = Decoder(encoder, decoder)

    def rebuild(self, images: torch.Tensor, noise: torch.Tensor, hidden: int, plane: str) -> tuple:
        """(B, 1, S, S) and (B, N) -> predicted patches (B, N, P) and a mask (B, N, 1), 1 where the patch was hidden."""
        keep, _ = split_tokens(noise, hidden)
        encoder = self.encoder if plane == "axial" else self.momentum_encoder
        patches = self.decoder(encoder(images, keep), keep)
        return patches, torch.ones(*noise.shape, 1).scatter(1, keep.unsqueeze(-1), 0.0)


def load_autoencoder(predictor: Predictor) -> Autoencoder:
    """The bundle's autoencoder, on the CPU. Raises ModelError where the bundle has none."""
    card = predictor.card
    members = predictor.bundle.weights("decoder")
    if not members:
        raise ModelError(f"The model {card.id} holds no autoencoder, so it cannot rebuild the region.", "no-decoder")
    encoder = configuration(EncoderConfiguration, card, "encoder")
    decoder = configuration(DecoderConfiguration, card, "decoder")
    return build(lambda: Autoencoder(encoder, decoder), members[0], card).float()


def explain(predictor: Predictor, roi: NoduleROI, autoencoder: Autoencoder | None = None) -> Explanation:
    """Rebuild both planes and roll out the attention. The same region always gives the same pictures (fixed masks).

    autoencoder: as ``load_autoencoder`` made it, to keep it between calls.
    """
    autoencoder = autoencoder or load_autoencoder(predictor)
    parts: dict[str, dict[str, np.ndarray]] = {"reconstruction": {}, "error": {}, "attention": {}}
    preprocessing = predictor.card.preprocessing
    for plane in ("axial", "coronal"):
        stack = getattr(roi, plane)
        image = torch.from_numpy(montage(stack, predictor.card))[None, None]
        rebuilt = denormalise(from_montage(reconstruct(autoencoder, image, plane)[0, 0].numpy()), preprocessing)
        rebuilt = np.clip(rebuilt, preprocessing.window_lower, preprocessing.window_upper)
        seen = np.clip(stack, preprocessing.window_lower, preprocessing.window_upper)
        parts["reconstruction"][plane] = rebuilt
        parts["error"][plane] = np.abs(rebuilt - seen)
        parts["attention"][plane] = from_montage(attention_rollout(predictor, image)[0, 0].numpy())
    return Explanation(**parts)


@torch.inference_mode()
def reconstruct(autoencoder: Autoencoder, images: torch.Tensor, plane: str) -> torch.Tensor:
    """(B, 1, S, S) normalized -> (B, 1, S, S): each patch the mean of its predictions over the masks that hid it.

    Masks come in complementary pairs: what one shows the other hides, so that every patch is predicted unseen.
    """
    tokens = autoencoder.encoder.configuration.tokens
    hidden = hidden_count(tokens, MASK_RATIO)
    generator = torch.Generator().manual_seed(SEED)
    total, times = 0.0, 0.0
    for _ in range(ROUNDS):
        noise = torch.rand(1, tokens, generator=generator).expand(len(images), -1)
        for draw, count in ((noise, hidden), (-noise, tokens - hidden)):
            patches, unseen = autoencoder.rebuild(images, draw, count, plane)
            total, times = total + patches * unseen, times + unseen
    return unpatchify(total / times)


@torch.inference_mode()
def attention_rollout(predictor: Predictor, images: torch.Tensor) -> torch.Tensor:
    """(B, 1, S, S) -> (B, 1, S, S) in 0 ... 1: rollout (Abnar and Zuidema 2020) from the class token, mean of members.

    Each block's head-averaged attention is mixed half and half with the identity, for the residual path.
    """
    maps = []
    for member in predictor.members:
        weight = member.encoder.cls_token
        joined = None
        for attention in member.encoder.attention(images.to(weight.device, weight.dtype)):
            mixed = attention.float().mean(dim=1)
            mixed = 0.5 * mixed + 0.5 * torch.eye(mixed.shape[-1], device=mixed.device)
            joined = mixed if joined is None else mixed @ joined
        maps.append(joined[:, 0, 1:].cpu())
    mean = torch.stack(maps).mean(dim=0)
    low, high = mean.amin(dim=1, keepdim=True), mean.amax(dim=1, keepdim=True)
    scaled = (mean - low) / (high - low).clamp_min(1e-12)
    patch = predictor.members[0].encoder.configuration.patch_size
    return unpatchify(scaled.unsqueeze(-1).expand(-1, -1, patch * patch))
