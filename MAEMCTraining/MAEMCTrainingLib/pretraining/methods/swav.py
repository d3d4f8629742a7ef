"""SwAV: each view predicts which prototypes the other large view was assigned to.

Caron et al. 2020, "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments" (NeurIPS), section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from MAEMCLib.networks.configuration import BACKBONES, BackboneConfiguration, DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.encoders import build_encoder
from torch import Tensor, nn
from torch.nn import functional

from ...engine.batch_norm import several_processes
from ...engine.configuration import PictureAugmentation
from ..configuration import PretrainingConfiguration
from ..method import Method
from ..parts.gathering import rows_of_all
from ..parts.projection import Projection
from ..parts.queue import KeyQueue
from ..parts.settings import check
from ..parts.small_batches import check_share, check_whole_batch

if TYPE_CHECKING:
    from ..method import ViewBatch

LARGE_VIEWS = 2  # the views that are assigned to prototypes; all views predict


@dataclass(frozen=True)
class Configuration:
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
        check(self.prototypes >= 2, "prototypes", self.prototypes, "at least 2")
        check(self.temperature > 0, "temperature", self.temperature, "above 0")
        check(self.epsilon > 0, "epsilon", self.epsilon, "above 0")
        check(self.sinkhorn_iterations >= 1, "sinkhorn_iterations", self.sinkhorn_iterations, "at least 1")
        check(self.frozen_steps >= 0, "frozen_steps", self.frozen_steps, "at least 0")
        check(self.projection_width >= 1, "projection_width", self.projection_width, "at least 1")
        check(self.queue_size >= 0, "queue_size", self.queue_size, "at least 0")


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
    BACKBONE = "resnet18"
    PAPER_BACKBONE = "resnet50"
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

    @classmethod
    def preset(cls, name: str, base: PretrainingConfiguration) -> PretrainingConfiguration:
        """``base`` with the method's values."""
        if name == "tiny":
            # For a processor in minutes (a ResNet-18 on 64 pixels): prototypes for hundreds of cases, not for hundreds
            # of thousands, that begin to learn after some tens of steps.
            return replace(
                base,
                settings=replace(base.settings, prototypes=32, frozen_steps=30),
                batch=64,
                epochs=20,  # of eight views
                optimization=replace(base.optimization, learning_rate=1e-3),
            )
        if name in ("paper", "paper-schedule"):
            # As Less-is-More prints it: 500 prototypes, crops of 90 to 100 % and of 10 to 33 % of the picture, LARS at
            # 0.15 with decay 1e-6, batch 128, 800 epochs. Not printed: 10 epochs of warm-up, cosine and momentum 0.9,
            # SwAV's. As there, LARS adapts and decays biases and norms too. The gradient clip is ours; LARS takes the
            # length of each layer's gradient out again.
            augmentation = base.augmentation
            if isinstance(augmentation, PictureAugmentation):
                augmentation = replace(augmentation, crop_area=(0.9, 1.0), small_area=(0.1, 0.33))
            return replace(
                base,
                augmentation=augmentation,
                batch=128,
                epochs=800,
                optimization=replace(
                    base.optimization,
                    optimizer="lars",
                    momentum=0.9,
                    learning_rate=0.15,
                    weight_decay=1e-6,
                    schedule="cosine",
                    warmup_fraction=0.0125,
                ),
            )
        return replace(base, batch=128, optimization=replace(base.optimization, learning_rate=5e-4))


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
