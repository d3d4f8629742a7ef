"""SwAV: each view predicts which prototypes the other large view was assigned to.

Caron et al. 2020, "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments" (NeurIPS), section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from MAEMCLib.networks.configuration import BACKBONES, BackboneConfiguration, DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.encoders import build_encoder
from torch import Tensor, nn
from torch.nn import functional

from ...engine.batch_norm import several_processes
from ..method import Method, ViewBatch
from ..parts.gathering import rows_of_all
from ..parts.projection import Projection
from ..parts.queue import KeyQueue
from ..parts.settings import MethodSettings
from ..parts.small_batches import check_share, check_whole_batch

LARGE_VIEWS = 2  # the views that are assigned to prototypes; all views predict


@dataclass(frozen=True)
class Configuration(MethodSettings):
    """The settings of SwAV. Raises UsageError for values that make no sense."""

    prototypes: int = 500
    temperature: float = 0.1
    # The entropy that the assignments keep: the smaller, the closer each sample comes to one single prototype.
    epsilon: float = 0.05
    sinkhorn_iterations: int = 3
    # Optimizer steps before the prototypes begin to learn.
    frozen_steps: int = 313
    projection_width: int = 128
    # Feature vectors of earlier batches that are assigned along with the batch, for batches much smaller than the
    # number of prototypes; they take part once all of them are there. 0: none, as in Less-is-More.
    queue_size: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_at_least(2, "prototypes")
        self.check_above_0("temperature", "epsilon")
        self.check_at_least(1, "sinkhorn_iterations", "projection_width")
        self.check_at_least(0, "frozen_steps", "queue_size")


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
    losses = []
    for own, assignment in enumerate(assignments):
        for view, predicted in enumerate(scores):
            if view != own:
                logarithms = functional.log_softmax(predicted.float() / temperature, dim=1)
                losses.append(-(assignment * logarithms).sum(dim=1).mean())
    return torch.stack(losses).mean()


class SwAV(Method):
    """An encoder, a projection of two layers with batch normalization between them, and the prototypes."""

    Configuration = Configuration
    VIEWS = "multi-crop"
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
        width, projected = self.encoder.width, configuration.projection_width
        # The paper's hidden layer has 2048 units, a ResNet-50's width.
        self.projection = Projection(width, width, projected, seed + 1, normalized=True)
        drawn = torch.randn(configuration.prototypes, projected, generator=torch.Generator().manual_seed(seed + 2))
        self.prototypes = nn.Parameter(functional.normalize(drawn, dim=1))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        queues = LARGE_VIEWS if configuration.queue_size else 0
        self.queues = nn.ModuleList(KeyQueue(configuration.queue_size, projected) for _ in range(queues))

    def forward(self, batch: ViewBatch) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
        """The loss of this process's samples, assigned to prototypes together with those of all processes.

        Returns "loss" (nats) with its gradient and, detached, "prototypes_used" (how many prototypes come first for a
        large view of the batch); and the features of the large views (B, 2, D) with their patients for ``after_step``.
        Raises UsageError for a batch of one sample.
        """
        settings = self.configuration
        own = len(batch.patient)
        patient, mine = rows_of_all(batch.patient)
        check_whole_batch(len(patient))
        check_share(own, self.encoder)
        features = self.projection(self._encode(batch.images))
        with torch.autocast(features.device.type, enabled=False):
            scores = list((features @ self._current_prototypes().T).split(own))
            large = torch.stack(features[: LARGE_VIEWS * own].detach().split(own), dim=1)
            assignments = self._assign(rows_of_all(large)[0])
            loss = swapped_prediction(scores, [assignment[mine] for assignment in assignments], settings.temperature)
        first = torch.cat([assignment.argmax(dim=1) for assignment in assignments])
        used = torch.zeros(settings.prototypes, device=first.device).index_fill_(0, first, 1.0).sum()
        return {"loss": loss, "prototypes_used": used}, (large, batch.patient)

    def _encode(self, images: tuple[Tensor, ...]) -> Tensor:
        """The features (V B, width) of all views, those of one size in one pass, as published."""
        sides = [_taken_side(self.encoder.configuration, view.shape[-1]) for view in images]
        features, done = [], 0
        while done < len(images):
            end = done + 1
            while end < len(images) and sides[end] == sides[done]:
                end += 1
            views = [
                view
                if view.shape[-1] == sides[done]
                else functional.interpolate(view, size=sides[done], mode="bilinear", antialias=True)
                for view in images[done:end]
            ]
            features.append(self.encoder.features(torch.cat(views)))
            done = end
        return torch.cat(features)

    def _current_prototypes(self) -> Tensor:
        """The prototypes (K, D), in the first steps without a gradient."""
        if self.steps >= self.configuration.frozen_steps:
            return self.prototypes
        if several_processes():  # which wait for a gradient of each parameter; ``unmoved`` drops it
            return self.prototypes.detach() + 0 * self.prototypes
        return self.prototypes.detach()

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
            shares = sinkhorn(pool @ self.prototypes.T, settings.epsilon, settings.sinkhorn_iterations)
            assignments.append(shares[: len(features)])
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


def _taken_side(encoder: EncoderConfiguration | BackboneConfiguration, side: int) -> int:
    """The side in pixels at which a view goes through the encoder.

    ResNets take small views as they are; those that halve the picture five times, at the nearest side. Networks with
    tokens for fixed places know one side: small views are enlarged to it.
    """
    if side != encoder.image_size and isinstance(encoder, BackboneConfiguration):
        facts = BACKBONES[encoder.backbone]
        if facts.timm_name.startswith(("resnet", "pvt", "convnext")):
            return facts.nearest_side(side)
    return encoder.image_size
