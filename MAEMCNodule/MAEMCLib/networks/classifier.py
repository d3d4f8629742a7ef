"""What every classifier is: an encoder, and a head that makes logits of a case's branches and values.

A branch is an image of a case: a plane of a nodule, of a further series too, or a picture. The heads are the files of
``heads``.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor, distributed, nn

from .configuration import AnyEncoderConfiguration, GraphConfiguration
from .vit import build_encoder


@dataclass
class Logits:
    """fused: (B, C), the mean of the observed branches' logits. branches: (B, K, C), zeros where nothing was observed;
    of a head that reads values (B, K + 1, C), the last being theirs. observed: bool, shaped as branches without C."""

    fused: Tensor
    branches: Tensor
    observed: Tensor


class Classifier(nn.Module, ABC):
    """One encoder for all branches, and the head on its features. The same seed draws the same values.

    graph: the branches, the values and the size of a head that relates them; others ignore it.
    """

    RELATES: ClassVar[bool]
    """Whether the head relates the branches of a case: it is then trained on all of them at once, with a loss for each,
    and otherwise on one at a time."""
    MEASURES: ClassVar[bool] = False
    """Whether the values that it reads are measured of a nodule (``measures.middle_slice``), and not asked for."""

    def __init__(
        self,
        encoder: AnyEncoderConfiguration,
        classes: int = 2,
        seed: int = 0,
        graph: GraphConfiguration | None = None,
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, seed)
        self.classes, self.graph, self.frozen = classes, graph, False
        self.build(seed)

    @abstractmethod
    def build(self, seed: int) -> None:
        """Make the layers after the encoder, their values drawn from other seeds than the encoder's."""

    def forward(self, images: Tensor, seen: Tensor, values: Tensor, given: Tensor) -> Logits:
        """images (B, K, 1, S, S) normalized; seen (B, K) bool; values (B, A): a number in its own unit, the index of a
        choice; given (B, A) bool. What is not seen or given may hold anything. A case needs at least one of all.
        """
        return self.of_features(self.features(images, seen), seen, values, given)

    @abstractmethod
    def of_features(self, features: Tensor, seen: Tensor, values: Tensor, given: Tensor) -> Logits:
        """What the head makes of features (B, K, encoder's width); the rest as in ``forward``."""

    def features(self, images: Tensor, seen: Tensor) -> Tensor:
        """The shared encoder's features of what was seen, zeros elsewhere: (B, K, encoder's width)."""
        # Several processes that train together pass the encoder together, whoever has images.
        together = self.training and distributed.is_available() and distributed.is_initialized()
        if not seen.any() and not together:
            return images.new_zeros(*seen.shape, self.encoder.width)
        # The encoder sees the observed images alone: an empty one would enter the statistics of its batch norms.
        observed = self.encoder.features(images[seen])
        found = observed.new_zeros(*seen.shape, observed.shape[-1])
        found[seen] = observed
        return found

    def freeze(self) -> None:
        """The encoder stays as it is from now on, the statistics of its batch norms too."""
        self.encoder.requires_grad_(False)
        self.frozen = True
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """As of any module; a frozen encoder stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self


def mean_of(nodes: Tensor, observed: Tensor) -> Tensor:
    """(B, N, d) and (B, N) bool -> (B, d), the mean over the observed."""
    weight = observed.unsqueeze(2).to(nodes.dtype)
    return (nodes * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1.0)
