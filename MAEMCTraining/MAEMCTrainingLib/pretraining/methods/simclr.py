"""SimCLR: the two views of a sample are told from the views of the other samples in the batch.

Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations" (ICML), section 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from MAEMCLib.networks.configuration import BackboneConfiguration, DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.encoders import build_encoder
from torch import Tensor

from ..configuration import PretrainingConfiguration
from ..method import Method
from ..parts.gathering import rows_of_all
from ..parts.losses import SAME_PATIENT, nt_xent
from ..parts.projection import Projection
from ..parts.settings import check, check_choice
from ..parts.small_batches import check_share, check_whole_batch

if TYPE_CHECKING:
    from ..method import ViewBatch


@dataclass(frozen=True)
class Configuration:
    """The settings of SimCLR. Raises UsageError for values that make no sense."""

    temperature: float = 0.1  # also that of ModAn-MulSupCon's SimCLR baseline
    projection_width: int = 128
    # Images of the anchor's own patient show the same lesion. "exclude": they are no negatives; "keep": the paper's
    # letter.
    same_patient: Literal["exclude", "keep"] = "exclude"

    def __post_init__(self) -> None:
        check_choice("same_patient", self.same_patient, SAME_PATIENT)
        check(self.temperature > 0, "temperature", self.temperature, "above 0")
        check(self.projection_width >= 1, "projection_width", self.projection_width, "at least 1")


class SimCLR(Method):
    """An encoder and the projection W2 relu(W1 h) on its features, whose hidden layer is as wide as they are."""

    Configuration = Configuration
    VIEWS = "pair"
    BACKBONE = "resnet18"
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

    @classmethod
    def preset(cls, name: str, base: PretrainingConfiguration) -> PretrainingConfiguration:
        """``base`` with the method's values."""
        if name == "tiny":
            # For a processor in minutes (a ResNet-18 on 64 pixels).
            return replace(base, batch=64, epochs=30, optimization=replace(base.optimization, learning_rate=1e-3))
        if name in ("paper", "paper-schedule"):
            # As the baseline of ModAn-MulSupCon, which shares its optimization: SGD at 0.05, momentum 0.9, decay 1e-4,
            # batch 256, 1000 epochs, temperature 0.10. Its schedule is not printed: cosine with 10 epochs of warm-up.
            return replace(
                base,
                batch=256,
                epochs=1000,
                optimization=replace(
                    base.optimization,
                    optimizer="sgd",
                    momentum=0.9,
                    learning_rate=0.05,
                    weight_decay=1e-4,
                    schedule="cosine",
                    warmup_fraction=0.01,
                ),
            )
        return replace(base, batch=128, optimization=replace(base.optimization, learning_rate=5e-4))
