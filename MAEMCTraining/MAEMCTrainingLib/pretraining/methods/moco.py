"""MoCo: a view is compared with its partner from a momentum encoder, against a queue of earlier keys.

Version 1: He et al. 2020, "Momentum Contrast for Unsupervised Visual Representation Learning" (CVPR), section 3.
Version 2: Chen et al. 2020, "Improved Baselines with Momentum Contrastive Learning" (arXiv 2003.04297), section 3.
"""

from dataclasses import dataclass

import torch
from MAEMCLib.networks.configuration import DecoderConfiguration
from torch import Tensor, distributed

from ...engine.batch_norm import average_running_statistics, batch_norms, check_micro_batch, several_processes
from ...engine.configuration import BelowOne, Count, Positive
from ..method import MethodSettings, ViewBatch
from ..parts.gathering import rows_of_all
from ..parts.losses import SamePatient, info_nce
from ..parts.momentum_contrast import KeyQueue, MomentumCopies
from ..parts.projection import Projection


@dataclass(frozen=True)
class Configuration(MethodSettings):
    """The settings of MoCo, with the values of version 2."""

    temperature: Positive = 0.2
    # The share of its own values that the momentum encoder keeps at each step.
    momentum: BelowOne = 0.999
    # Earlier keys. The papers keep 65,536 of 1.28 million images, a twentieth of an epoch; a queue that is longer
    # than an epoch holds older and older keys of the same images.
    queue_size: Count = 4096
    projection_width: Count = 128
    # Keys of the query's own patient are of the same lesion. "exclude": they are no negatives; "keep": the papers'
    # letter.
    same_patient: SamePatient = "exclude"


class MoCoV2(MomentumCopies):
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

    def add_parts(self, decoder: DecoderConfiguration, seed: int) -> None:
        settings, width = self.configuration, self.encoder.width
        hidden = width if self.hidden_projection else 0
        self.projection = Projection(width, hidden, settings.projection_width, seed + 1)
        self.add_copies()
        self.normalizes = any(True for _ in batch_norms(self.momentum_encoder))
        self.queue = KeyQueue(settings.queue_size, settings.projection_width)

    def forward(self, batch: ViewBatch) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
        """The loss of one micro-batch, and its keys with their patients for ``after_step``.

        The first view is the query, the second the key. Returns "loss" (nats) with its gradient and, detached,
        "negatives" (mean number of negatives a query; 0 in the first step, where the loss is 0). Raises UsageError for
        a micro-batch of one sample and an encoder with batch normalization.
        """
        check_micro_batch(len(batch.patient), self.encoder)
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
        rng = torch.Generator().manual_seed(torch.initial_seed())
        shuffled = torch.randperm(len(everyone), generator=rng).to(partners.device)
        check_micro_batch(
            len(everyone) // distributed.get_world_size(), self.momentum_encoder
        )  # the same in all of them
        keys, _ = rows_of_all(self.momentum_projection(self.momentum_encoder.features(everyone[shuffled[mine]])))
        return keys[shuffled.argsort()[mine]]

    def after_step(self, kept: list[tuple[Tensor, Tensor]]) -> None:
        """The batch's keys enter the queue after its losses: negatives come from earlier batches only.

        The momentum encoder's running statistics become the same in all processes.
        """
        keys, patients = zip(*kept, strict=True)
        self.queue.enqueue(torch.cat(keys), torch.cat(patients))
        average_running_statistics(self.momentum_encoder)


class MoCoV1(MoCoV2):
    """The same with a linear projection."""

    hidden_projection = False
