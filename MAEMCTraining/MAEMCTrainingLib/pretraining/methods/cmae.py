"""CMAE: a contrastive masked autoencoder.

Huang et al., arXiv 2207.13532 (IEEE TPAMI 2024): an online encoder sees the visible patches of one crop of an image, a
momentum encoder the whole of another crop, shifted by some pixels. A pixel decoder reconstructs the masked patches; a
feature decoder completes the tokens of the masked ones, so that the two branches' mean features can be contrasted.

Differs from the released code: the momentum is constant, theirs rises to 1 by a half cosine; single patches are masked,
theirs are blocks of 2 x 2; the features have the encoder's final norm, their momentum branch has none; the momentum
branch's view is augmented as the data's kind is, theirs is jittered in color and blurred.
"""

from dataclasses import dataclass, replace

import torch
from MAEMCLib.networks.configuration import DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.vit import Decoder, Linear, initialize
from torch import Tensor

from ...engine.configuration import BelowOne, Count, NotNegative, Positive
from ..method import ViewBatch
from ..parts.gathering import rows_of_all
from ..parts.losses import SamePatient, info_nce
from ..parts.masked_transformer import MaskedTransformer, MaskedTransformerSettings
from ..parts.momentum_contrast import MomentumCopies
from ..parts.projection import Projection


@dataclass(frozen=True)
class Configuration(MaskedTransformerSettings):
    """The settings of CMAE."""

    temperature: Positive = 0.07
    # Of the momentum encoder and its head: theirs <- momentum * theirs + (1 - momentum) * the online ones'.
    momentum: BelowOne = 0.996
    # Blocks of the feature decoder; its width and heads are the pixel decoder's.
    feature_depth: Count = 2
    # Of the unit vectors that are compared. Both heads have one hidden layer of twice the encoder's width.
    projection_width: Count = 256
    # L = MSE + weight * InfoNCE.
    contrastive_weight: NotNegative = 1.0
    # Other images of the query's own patient in the batch. "exclude": they are no negatives; "keep": the letter of the
    # paper, whose photographs have no patients.
    same_patient: SamePatient = "exclude"


class FeatureDecoder(Decoder):
    """A decoder that predicts an encoder's feature of every patch, (B, N, encoder width), instead of its pixels."""

    def __init__(self, encoder: EncoderConfiguration, configuration: DecoderConfiguration, seed: int = 0) -> None:
        super().__init__(encoder, configuration, seed)
        self.predict = Linear(configuration.width, encoder.width)
        initialize(self.predict, seed + 1)


class CMAE(MomentumCopies, MaskedTransformer):
    """Online encoder, pixel decoder, feature decoder and heads; momentum encoder and head.

    The negatives of an image are the other images of its batch as the momentum branch sees them.
    """

    Configuration = Configuration
    VIEWS = "shifted"
    WHOLE_BATCH = True

    def add_parts(self, decoder: DecoderConfiguration, seed: int) -> None:
        super().add_parts(decoder, seed)
        features = replace(decoder, depth=self.configuration.feature_depth)
        self.feature_decoder = FeatureDecoder(self.encoder.configuration, features, seed + 2)
        width, output = self.encoder.width, self.configuration.projection_width
        # Batch normalization in the hidden layers, as in the authors' code.
        self.projection = Projection(width, 2 * width, output, seed + 4, normalized=True)
        self.prediction = Projection(output, 2 * width, output, seed + 5, normalized=True)
        self.add_copies()

    def forward(self, batch: ViewBatch) -> tuple[dict[str, Tensor], None]:
        """The losses of a batch: images[0] is masked and reconstructed, images[1] the momentum branch's.

        Returns "loss" with its gradient and, detached, "loss_mse", "loss_info_nce" (nats) and "negatives" (mean number
        of negatives a query).
        """
        settings = self.configuration
        patients, mine = rows_of_all(batch.patient)
        image, whole = batch.images[:2]
        loss_mse, tokens, split = self.reconstruction(image, batch.noise[:, 0])
        queries = self.feature_decoder(tokens, split.keep).mean(dim=1)
        queries = self.prediction(self.projection.layers(queries))
        with torch.no_grad():
            keys = self.momentum_projection(self.momentum_encoder(whole)[:, 1:].mean(dim=1))
            negatives, _ = rows_of_all(keys)
        rows = torch.arange(len(patients), device=patients.device)
        of_others = (patients[mine, None] != patients) | (settings.same_patient == "keep")
        allowed = (rows[mine, None] != rows) & of_others
        loss_nce, used = info_nce(queries, keys, negatives, allowed, settings.temperature)
        losses = {
            "loss": loss_mse + settings.contrastive_weight * loss_nce,
            "loss_mse": loss_mse.detach(),
            "loss_info_nce": loss_nce.detach(),
            "negatives": used,
        }
        return losses, None
