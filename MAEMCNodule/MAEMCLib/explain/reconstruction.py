"""What the autoencoder rebuilds, where it errs, and where the classifier looks: arrays in a nodule region's geometry.

For 2-D pictures see ``attention``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..errors import ModelError
from ..inputs.montage import denormalize, from_montage, resized
from ..inputs.region import NoduleROI
from ..models.loading import is_finite, load_members
from ..models.predictor import Predictor, montage
from ..networks.configuration import DecoderConfiguration, EncoderConfiguration
from ..networks.decoder import Decoder
from ..networks.masking import hidden_count, split_tokens, unpatchify
from ..networks.vit import ViT
from .attention import attention_rollout, has_attention, interpolated, mean_grad_cam

ROUNDS = 4
"""Pairs of complementary masks that are averaged; more change the picture little."""
MASK_RATIO = 0.5
SEED = 20251


@dataclass(frozen=True)
class Explanation:
    """Per plane, (25, 50, 50) float32 in the geometry of the region's stacks.

    reconstruction: HU; every patch as it was predicted while hidden, never copied from the input. Empty for a bundle
    without autoencoder.
    error: HU, absolute difference to the input within the model's window. What the model finds unusual, not why a
    nodule should be malignant. Empty for a bundle without autoencoder.
    attention: of the planes that the classifier sees; 0 ... 1, attention rollout from the class token, as coarse as the
    patches; or, of a network without attention weights, Grad-CAM for the positive class.
    attention_kind: which of the two, for people. problem: why an autoencoder that the bundle has cannot be used.
    """

    reconstruction: dict[str, np.ndarray]
    error: dict[str, np.ndarray]
    attention: dict[str, np.ndarray]
    attention_kind: str
    problem: str = ""

    def parts(self) -> dict[str, dict[str, np.ndarray]]:
        """The stacks by part and plane."""
        return {"reconstruction": self.reconstruction, "error": self.error, "attention": self.attention}

    @property
    def notice(self) -> str:
        """What is missing and why; empty where nothing is."""
        if self.problem:
            return f"There is no reconstruction and no error. {self.problem}"
        return "" if self.reconstruction else "The model holds no autoencoder: there is no reconstruction and no error."


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
    """The bundle's autoencoder, on the CPU. Raises ModelError where the bundle has none, or one that cannot be used."""
    card = predictor.card
    if not card.members("decoder"):
        raise ModelError(f"The model {card.id} holds no autoencoder, so it cannot rebuild the region.", "no-decoder")
    encoder, decoder = card.encoder, card.decoder
    if decoder is None or not isinstance(encoder, EncoderConfiguration):
        raise ModelError(f"The card of {card.id} does not describe its autoencoder. Get the model again.", "decoder")
    autoencoder = load_members(predictor.bundle, "decoder", lambda: Autoencoder(encoder, decoder))[0].float()
    if not is_finite(autoencoder):
        raise ModelError(
            f"The autoencoder of {card.id} holds values that are not numbers. Get the model again from its source.",
            "decoder",
        )
    return autoencoder


def explain(predictor: Predictor, roi: NoduleROI, autoencoder: Autoencoder | None = None) -> Explanation:
    """Rebuild both planes, where the bundle has an autoencoder, and tell where the classifier looks. The same region
    always gives the same pictures (fixed masks). An autoencoder that cannot be used leaves the classifier's maps.

    autoencoder: as ``load_autoencoder`` made it, to keep it between calls.
    """
    problem = ""
    if autoencoder is None and predictor.card.members("decoder"):
        try:
            autoencoder = load_autoencoder(predictor)
        except ModelError as error:
            problem = str(error)
    reconstruction, error, attention = {}, {}, {}
    preprocessing = predictor.card.preprocessing
    for plane in ("axial", "coronal"):
        stack = getattr(roi, plane)
        image = montage(stack, predictor.card)
        if plane in predictor.planes:
            attention[plane] = from_montage(_looked_at(predictor, image))
        if autoencoder is None:
            continue
        rebuilt = reconstruct(autoencoder, torch.from_numpy(image)[None, None], plane)[0, 0].numpy()
        rebuilt = denormalize(from_montage(rebuilt), preprocessing)
        rebuilt = np.clip(rebuilt, preprocessing.window_lower, preprocessing.window_upper)
        seen = np.clip(stack, preprocessing.window_lower, preprocessing.window_upper)
        reconstruction[plane], error[plane] = rebuilt, np.abs(rebuilt - seen)
    kind = "attention rollout" if has_attention(predictor) else "Grad-CAM"
    if not all(np.isfinite(stack).all() for stack in reconstruction.values()):
        reconstruction, error = {}, {}
        problem = f"The autoencoder of {predictor.card.id} gives no finite values for this region."
    return Explanation(reconstruction, error, attention, kind, problem)


def _looked_at(predictor: Predictor, image: np.ndarray) -> np.ndarray:
    """(250, 250) montage -> (250, 250) in 0 ... 1."""
    if has_attention(predictor):
        return attention_rollout(predictor, torch.from_numpy(image)[None, None])[0, 0].numpy()
    shown = torch.from_numpy(np.array(resized(image, predictor.side)))[None, None]
    grown = interpolated(mean_grad_cam(predictor, shown, positive=True)[0].numpy(), len(image))
    return grown / max(float(grown.max()), 1e-12)


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
