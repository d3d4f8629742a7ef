"""CMAE: a contrastive masked autoencoder.

Huang et al., arXiv 2207.13532 (IEEE TPAMI 2024): an online encoder sees the visible patches of one crop of an image, a
momentum encoder the whole of another crop, shifted by some pixels. A pixel decoder rebuilds the masked patches; a
feature decoder completes the tokens of the masked ones, so that the two branches' mean features can be contrasted.

Differs from the released code: the momentum is constant, theirs rises to 1 by a half cosine; single patches are masked,
theirs are blocks of 2 x 2; the features have the encoder's final norm, their momentum branch has none; the momentum
branch's view is augmented as the data's kind is, theirs is jittered in color and blurred.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from MAEMCLib.networks.configuration import DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.decoder import Decoder
from MAEMCLib.networks.layers import Linear, initialize
from torch import Tensor

from ..method import ViewBatch
from ..parts.gathering import rows_of_all
from ..parts.losses import SamePatient, info_nce
from ..parts.masked_transformer import MaskedTransformer, MaskedTransformerSettings
from ..parts.momentum import update_momentum
from ..parts.projection import Projection
from ..parts.small_batches import check_whole_batch


@dataclass(frozen=True)
class Configuration(MaskedTransformerSettings):
    """The settings of CMAE. Raises UsageError for values that make no sense."""

    temperature: float = 0.07
    # Of the momentum encoder and its head: theirs <- momentum * theirs + (1 - momentum) * the online ones'.
    momentum: float = 0.996
    # Blocks of the feature decoder; its width and heads are the pixel decoder's.
    feature_depth: int = 2
    # Of the unit vectors that are compared. Both heads have one hidden layer of twice the encoder's width.
    projection_width: int = 256
    # L = MSE + weight * InfoNCE.
    contrastive_weight: float = 1.0
    # Other images of the query's own patient in the batch. "exclude": they are no negatives; "keep": the letter of the
    # paper, whose photographs have no patients.
    same_patient: SamePatient = "exclude"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_above_0("temperature")
        self.check_momentum()
        self.check_at_least(1, "feature_depth", "projection_width")
        self.check_at_least(0, "contrastive_weight")


class FeatureDecoder(Decoder):
    """A decoder that predicts an encoder's feature of every patch, (B, N, encoder width), instead of its pixels."""

    def __init__(self, encoder: EncoderConfiguration, configuration: DecoderConfiguration, seed: int = 0) -> None:
        super().__init__(encoder, configuration, seed)
        self.predict = Linear(configuration.width, encoder.width)
        initialize(self.predict, seed + 1)


class CMAE(MaskedTransformer):
    """Online encoder, pixel decoder, feature decoder and heads; momentum encoder and head.

    The negatives of an image are the other images of its batch as the momentum branch sees them.
    """

    Configuration = Configuration
    VIEWS = "shifted"
    WHOLE_BATCH = True

    def __init__(
        self, configuration: Configuration, encoder: EncoderConfiguration, decoder: DecoderConfiguration, seed: int
    ) -> None:
        """Raises UsageError for a mask that leaves no patch visible or none masked."""
        super().__init__(configuration, encoder, decoder, seed)
        features, output = replace(decoder, depth=configuration.feature_depth), configuration.projection_width
        self.feature_decoder = FeatureDecoder(encoder, features, seed + 2)
        # Batch normalization in the hidden layers, as in the authors' code.
        self.projection = Projection(encoder.width, 2 * encoder.width, output, seed + 4, normalized=True)
        self.prediction = Projection(output, 2 * encoder.width, output, seed + 5, normalized=True)
        self.momentum_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self.momentum_projection = copy.deepcopy(self.projection).requires_grad_(False)

    def forward(self, batch: ViewBatch) -> tuple[dict[str, Tensor], None]:
        """The losses of one share: images[0] is masked and rebuilt, images[1] the momentum branch's.

        Returns "loss" with its gradient and, detached, "loss_mse", "loss_info_nce" (nats) and "negatives" (mean number
        of negatives a query). Raises UsageError for a batch of one image: it has no negatives.
        """
        settings = self.configuration
        patients, mine = rows_of_all(batch.patient)
        check_whole_batch(len(patients))
        image, whole = batch.images[:2]
        loss_mse, tokens, keep = self.reconstruction(image, batch.noise[:, 0])
        queries = self.feature_decoder(tokens, keep).mean(dim=1)
        queries = self.prediction(self.projection.layers(queries))
        with torch.no_grad():
            keys = self.momentum_projection(self.momentum_encoder(whole)[:, 1:].mean(dim=1))
            negatives, _ = rows_of_all(keys)
        rows = torch.arange(len(patients), device=patients.device)
        allowed = rows[mine, None] != rows
        if settings.same_patient == "exclude":
            allowed &= patients[mine, None] != patients
        loss_nce, used = info_nce(queries, keys, negatives, allowed, settings.temperature)
        losses = {
            "loss": loss_mse + settings.contrastive_weight * loss_nce,
            "loss_mse": loss_mse.detach(),
            "loss_info_nce": loss_nce.detach(),
            "negatives": used,
        }
        return losses, None

    def before_step(self) -> None:
        """The momentum encoder and its head move before the keys are computed."""
        copies, online = (self.momentum_encoder, self.momentum_projection), (self.encoder, self.projection)
        update_momentum(copies, online, self.configuration.momentum)
