"""SwAV: each view predicts which prototypes the other large view was assigned to.

Caron et al. 2020, "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments" (NeurIPS), section 3.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated

import torch
from MAEMCLib.networks.configuration import (
    BACKBONES,
    AnyEncoderConfiguration,
    BackboneConfiguration,
    DecoderConfiguration,
)
from torch import Tensor, nn
from torch.nn import functional

from ...engine.batch_norm import check_micro_batch
from ...engine.configuration import Count, Positive, at_least
from ..method import Method, MethodSettings, ViewBatch
from ..parts.gathering import rows_of_all
from ..parts.momentum_contrast import KeyQueue
from ..parts.projection import Projection

LARGE_VIEWS = 2  # the views that are assigned to prototypes; all views predict


@dataclass(frozen=True)
class Configuration(MethodSettings):
    """The settings of SwAV."""

    prototypes: Annotated[int, at_least(2)] = 500
    temperature: Positive = 0.1
    # The entropy that the assignments keep: the smaller, the closer each sample comes to one single prototype.
    epsilon: Positive = 0.05
    sinkhorn_iterations: Count = 3
    # Optimizer steps before the prototypes begin to learn.
    frozen_steps: Annotated[int, at_least(0)] = 313
    projection_width: Count = 128
    # Feature vectors of earlier batches that are assigned along with the batch, for batches much smaller than the
    # number of prototypes; they take part once all of them are there. 0: none, as in Less-is-More.
    queue_size: Annotated[int, at_least(0)] = 0


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Soft assignments of samples to prototypes that use all prototypes alike (section 3.1, equations 3 to 5).

    scores: (B, K) similarities. Returns (B, K) float32, each row summing to 1; each column tends to B / K. Starting
    from exp(scores / epsilon), an iteration scales all columns to one sum, then all rows to another; here on
    logarithms, which neither overflow nor vanish at a small epsilon.
    """
    with torch.autocast(scores.device.type, enabled=False):
        logarithms = scores.float() / epsilon
        for _ in range(iterations):
            logarithms = logarithms - logarithms.logsumexp(dim=0, keepdim=True)
            logarithms = logarithms - logarithms.logsumexp(dim=1, keepdim=True)
        return logarithms.exp()


def swapped_prediction(scores: list[Tensor], assignments: list[Tensor], temperature: float) -> Tensor:
    """The mean cross-entropy of each assignment with what every other view predicts (section 3.2, equation 6).

    scores: of each view (B, K); assignments: of the first views (B, K), without gradient.
    """
    losses = [
        -(assignment * functional.log_softmax(predicted.float() / temperature, dim=1)).sum(dim=1).mean()
        for own, assignment in enumerate(assignments)
        for view, predicted in enumerate(scores)
        if view != own
    ]
    return torch.stack(losses).mean()


class SwAV(Method):
    """An encoder, a projection of two layers with batch normalization between them, and the prototypes."""

    Configuration = Configuration
    VIEWS = "multi-crop"
    WHOLE_BATCH = True

    def add_parts(self, decoder: DecoderConfiguration, seed: int) -> None:
        settings, width = self.configuration, self.encoder.width
        # The paper's hidden layer has 2048 units, a ResNet-50's width.
        self.projection = Projection(width, width, settings.projection_width, seed + 1, normalized=True)
        shape, rng = (settings.prototypes, settings.projection_width), torch.Generator().manual_seed(seed + 2)
        self.prototypes = nn.Parameter(functional.normalize(torch.randn(shape, generator=rng), dim=1))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        queues = LARGE_VIEWS if settings.queue_size else 0
        self.queues = nn.ModuleList(KeyQueue(settings.queue_size, settings.projection_width) for _ in range(queues))

    def forward(self, batch: ViewBatch) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
        """The loss of this process's samples, assigned to prototypes together with those of all processes.

        Returns "loss" (nats) with its gradient and, detached, "prototypes_used" (how many prototypes come first for a
        large view of the batch); and the features of the large views (B, 2, D) with their patients for ``after_step``.
        Raises UsageError for one sample of a process and an encoder with batch normalization.
        """
        settings = self.configuration
        own = len(batch.patient)
        check_micro_batch(own, self.encoder)
        features = self.projection(self._encode(batch.images))
        with torch.autocast(features.device.type, enabled=False):
            scores = list((features @ self._current_prototypes().T).split(own))
            large = torch.stack(features[: LARGE_VIEWS * own].detach().split(own), dim=1)
            together, mine = rows_of_all(large)
            assignments = self._assign(together)
            loss = swapped_prediction(scores, [assignment[mine] for assignment in assignments], settings.temperature)
        first = torch.cat([assignment.argmax(dim=1) for assignment in assignments])
        used = torch.zeros(settings.prototypes, device=first.device).index_fill_(0, first, 1.0).sum()
        return {"loss": loss, "prototypes_used": used}, (large, batch.patient)

    def _encode(self, images: tuple[Tensor, ...]) -> Tensor:
        """The features (V B, width) of all views, those of one size in one pass, as published."""
        taken = [_at_taken_side(self.encoder.configuration, view) for view in images]
        sizes = groupby(taken, key=lambda view: view.shape[-1])
        return torch.cat([self.encoder.features(torch.cat(list(views))) for _, views in sizes])

    def _current_prototypes(self) -> Tensor:
        """The prototypes (K, D), in the first steps without a gradient."""
        if self.steps >= self.configuration.frozen_steps:
            return self.prototypes
        # Several processes wait for a gradient of each parameter; ``unmoved`` drops it.
        return self.prototypes.detach() + 0 * self.prototypes

    def unmoved(self) -> Iterator[nn.Parameter]:
        """The prototypes in the first steps."""
        if self.steps < self.configuration.frozen_steps:
            yield self.prototypes

    @torch.no_grad()
    def _assign(self, large: Tensor) -> list[Tensor]:
        """The assignments (N, K) of both large views, from the features (N, 2, D) of all processes."""
        settings = self.configuration
        assignments = []
        for view, features in enumerate(large.unbind(dim=1)):
            pool = features
            if self.queues and int(self.queues[view].filled) == settings.queue_size:
                pool = torch.cat([features, self.queues[view].keys])
            soft = sinkhorn(pool @ self.prototypes.T, settings.epsilon, settings.sinkhorn_iterations)
            assignments.append(soft[: len(features)])
        return assignments

    @torch.no_grad()
    def before_step(self) -> None:
        """The prototypes are brought back to length 1, so that scores are cosines."""
        self.prototypes.copy_(functional.normalize(self.prototypes, dim=1))

    def after_step(self, kept: list[tuple[Tensor, Tensor]]) -> None:
        """The step is counted, and the batch's features enter the queue."""
        self.steps += 1
        for view, queue in enumerate(self.queues):
            large, patients = zip(*kept, strict=True)
            queue.enqueue(torch.cat(large)[:, view], torch.cat(patients))


def _at_taken_side(encoder: AnyEncoderConfiguration, view: Tensor) -> Tensor:
    """A view at the side in pixels at which it goes through the encoder.

    ResNets take small views as they are; those that halve the image five times, at the nearest side. Networks with
    tokens for fixed places know one side: small views are enlarged to it.
    """
    side, taken = view.shape[-1], encoder.image_size
    if isinstance(encoder, BackboneConfiguration) and encoder.backbone.startswith(("resnet", "pvt", "convnext")):
        taken = BACKBONES[encoder.backbone].nearest_side(side)
    return view if side == taken else functional.interpolate(view, size=taken, mode="bilinear", antialias=True)
