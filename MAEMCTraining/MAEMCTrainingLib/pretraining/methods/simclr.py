"""SimCLR: the two views of a sample are told from the views of the other samples in the batch.

Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations" (ICML), section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from MAEMCLib.networks.configuration import BackboneConfiguration, DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.encoders import build_encoder
from torch import Tensor

from ..method import Method, ViewBatch
from ..parts.gathering import rows_of_all
from ..parts.losses import SamePatient, nt_xent
from ..parts.projection import Projection
from ..parts.settings import MethodSettings
from ..parts.small_batches import check_share, check_whole_batch


@dataclass(frozen=True)
class Configuration(MethodSettings):
    """The settings of SimCLR. Raises UsageError for values that make no sense."""

    temperature: float = 0.1  # also that of ModAn-MulSupCon's SimCLR baseline
    projection_width: int = 128
    # Images of the anchor's own patient show the same lesion. "exclude": they are no negatives; "keep": the paper's
    # letter.
    same_patient: SamePatient = "exclude"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_above_0("temperature")
        self.check_at_least(1, "projection_width")


class SimCLR(Method):
    """An encoder and the projection W2 relu(W1 h) on its features, whose hidden layer is as wide as they are."""

    Configuration = Configuration
    VIEWS = "pair"
    WHOLE_BATCH = True

    def __init__(
        self,
        configuration: Configuration,
        encoder: EncoderConfiguration | BackboneConfiguration,
        decoder: DecoderConfiguration,
        seed: int,
    ) -> None:
        """The decoder is not used: nothing is reconstructed."""
        super().__init__()
        self.configuration = configuration
        self.encoder = build_encoder(encoder, seed)
        width = self.encoder.width
        self.projection = Projection(width, width, configuration.projection_width, seed + 1)

    def forward(self, batch: ViewBatch) -> tuple[dict[str, Tensor], None]:
        """The loss of this process's samples against those of all processes.

        Returns "loss" (nats) with its gradient and, detached, "negatives" (mean number of negatives a view). Raises
        UsageError for a batch of one sample.
        """
        patient, mine = rows_of_all(batch.patient)
        check_whole_batch(len(patient))
        check_share(len(batch.patient), self.encoder)
        views = self.projection(self.encoder.features(torch.cat(batch.images[:2])))
        pairs, _ = rows_of_all(torch.stack(views.chunk(2), dim=1))
        settings = self.configuration
        loss, negatives = nt_xent(pairs, patient, settings.temperature, settings.same_patient, mine)
        return {"loss": loss, "negatives": negatives}, None
