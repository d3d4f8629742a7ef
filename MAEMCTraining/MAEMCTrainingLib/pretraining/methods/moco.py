"""MoCo: a view is compared with its partner from a momentum encoder, against a queue of earlier keys.

Version 1: He et al. 2020, "Momentum Contrast for Unsupervised Visual Representation Learning" (CVPR), section 3.
Version 2: Chen et al. 2020, "Improved Baselines with Momentum Contrastive Learning" (arXiv 2003.04297), section 3.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from MAEMCLib.networks.configuration import BackboneConfiguration, DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.encoders import build_encoder
from torch import Tensor, distributed

from ...engine.batch_norm import average_running_statistics, batch_norms, several_processes
from ..method import Method, ViewBatch
from ..parts.gathering import rows_of_all
from ..parts.losses import SamePatient, info_nce
from ..parts.momentum import update_momentum
from ..parts.projection import Projection
from ..parts.queue import KeyQueue
from ..parts.settings import MethodSettings
from ..parts.small_batches import check_share


@dataclass(frozen=True)
class Configuration(MethodSettings):
    """The settings of MoCo, with the values of version 2. Raises UsageError for values that make no sense."""

    temperature: float = 0.2
    # The share of its own values that the momentum encoder keeps at each step.
    momentum: float = 0.999
    # Earlier keys. The papers keep 65,536 of 1.28 million pictures, a twentieth of an epoch; a queue that is longer
    # than an epoch holds older and older keys of the same pictures.
    queue_size: int = 4096
    projection_width: int = 128
    # Keys of the query's own patient are of the same lesion. "exclude": they are no negatives; "keep": the papers'
    # letter.
    same_patient: SamePatient = "exclude"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_above_0("temperature")
        self.check_momentum()
        self.check_at_least(1, "queue_size", "projection_width")


@dataclass(frozen=True)
class ConfigurationV1(Configuration):
    """The settings of MoCo with the temperature of version 1."""

    temperature: float = 0.07


class MoCoV2(Method):
    """An encoder with a projection of two layers, the momentum copies of both, and the queue.

    Batch normalization in the encoder: queries are normalized over all processes, keys by each process with the
    statistics of those that it was given, as published. Query and key that were normalized together can be matched by
    their common statistics instead of by what they show, so that several processes shuffle the batch before the keys
    are computed and bring the keys back in order. In one process there is nobody to shuffle with, so this shortcut
    stays open in part: a large batch narrows it, and an encoder without batch normalization (ConvNeXt V2, a vision
    transformer) has none. The momentum copy's running statistics follow the batches of keys; of several processes the
    mean is kept.
    """

    Configuration = Configuration
    VIEWS = "pair"
    hidden_projection = True  # an MLP, its hidden layer as wide as the features; False: one linear layer

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
        hidden = width if self.hidden_projection else 0
        self.projection = Projection(width, hidden, configuration.projection_width, seed + 1)
        self.momentum_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self.momentum_projection = copy.deepcopy(self.projection).requires_grad_(False)
        self.normalizes = any(True for _ in batch_norms(self.momentum_encoder))
        self.queue = KeyQueue(configuration.queue_size, configuration.projection_width)

    def forward(self, batch: ViewBatch) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
        """The loss of one share of a batch, and its keys with their patients for ``after_step``.

        The first view is the query, the second the key. Returns "loss" (nats) with its gradient and, detached,
        "negatives" (mean number of negatives a query; 0 in the first step, where the loss is 0). Raises UsageError for
        a share of one sample and an encoder with batch normalization.
        """
        check_share(len(batch.patient), self.encoder)
        images, partners = batch.images[:2]
        query = self.projection(self.encoder.features(images))
        keys = self._keys(partners)
        allowed = self.queue.allowed(batch.patient, self.configuration.same_patient)
        loss, negatives = info_nce(query, keys, self.queue.keys, allowed, self.configuration.temperature)
        return {"loss": loss, "negatives": negatives}, (keys, batch.patient)

    @torch.no_grad()
    def _keys(self, partners: Tensor) -> Tensor:
        """The keys (B, D) of this process's partners, computed by whichever process the shuffle gave them to."""
        if not (several_processes() and self.normalizes):
            return self.momentum_projection(self.momentum_encoder.features(partners))
        everyone, mine = rows_of_all(partners)
        # The loop seeds torch alike in all processes, by the number of the step; each draws the same permutation.
        draws = torch.Generator().manual_seed(torch.initial_seed())
        shuffled = torch.randperm(len(everyone), generator=draws).to(partners.device)
        check_share(len(everyone) // distributed.get_world_size(), self.momentum_encoder)  # the same in all of them
        keys, _ = rows_of_all(self.momentum_projection(self.momentum_encoder.features(everyone[shuffled[mine]])))
        return keys[shuffled.argsort()[mine]]

    def before_step(self) -> None:
        """The momentum encoder moves before the keys are computed."""
        copies, online = (self.momentum_encoder, self.momentum_projection), (self.encoder, self.projection)
        update_momentum(copies, online, self.configuration.momentum)

    def after_step(self, kept: list[tuple[Tensor, Tensor]]) -> None:
        """The batch's keys enter the queue after its losses: negatives come from earlier batches only.

        The momentum encoder's running statistics become the same in all processes.
        """
        keys, patients = zip(*kept, strict=True)
        self.queue.enqueue(torch.cat(keys), torch.cat(patients))
        average_running_statistics(self.momentum_encoder)


class MoCoV1(MoCoV2):
    """The same with a linear projection."""

    Configuration = ConfigurationV1
    hidden_projection = False
