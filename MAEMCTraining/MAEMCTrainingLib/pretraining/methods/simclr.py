"""SimCLR: the two views of a sample are told from the views of the other samples in the batch.

Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations" (ICML), section 2.
"""

from dataclasses import dataclass

import torch
from MAEMCLib.networks.configuration import DecoderConfiguration
from torch import Tensor

from ...engine.batch_norm import check_micro_batch
from ...engine.configuration import Count, Positive
from ..method import Method, MethodSettings, ViewBatch
from ..parts.gathering import rows_of_all
from ..parts.losses import SamePatient, nt_xent
from ..parts.projection import Projection


@dataclass(frozen=True)
class Configuration(MethodSettings):
    """The settings of SimCLR."""

    temperature: Positive = 0.1  # also that of ModAn-MulSupCon's SimCLR baseline
    projection_width: Count = 128
    # Images of the anchor's own patient show the same lesion. "exclude": they are no negatives; "keep": the paper's
    # letter.
    same_patient: SamePatient = "exclude"


class SimCLR(Method):
    """An encoder and the projection W2 relu(W1 h) on its features, whose hidden layer is as wide as they are."""

    Configuration = Configuration
    VIEWS = "pair"
    WHOLE_BATCH = True

    def add_parts(self, decoder: DecoderConfiguration, seed: int) -> None:
        width = self.encoder.width
        self.projection = Projection(width, width, self.configuration.projection_width, seed + 1)

    def forward(self, batch: ViewBatch) -> tuple[dict[str, Tensor], None]:
        """The loss of this process's samples against those of all processes.

        Returns "loss" (nats) with its gradient and, detached, "negatives" (mean number of negatives a view). Raises
        UsageError for one sample of a process and an encoder with batch normalization.
        """
        patient, mine = rows_of_all(batch.patient)
        check_micro_batch(len(batch.patient), self.encoder)
        views = self.projection(self.encoder.features(torch.cat(batch.images[:2])))
        pairs, _ = rows_of_all(torch.stack(views.chunk(2), dim=1))
        settings = self.configuration
        loss, negatives = nt_xent(pairs, patient, settings.temperature, settings.same_patient, mine)
        return {"loss": loss, "negatives": negatives}, None
