"""One linear layer on every branch by itself; the mean of the branches' logits is the case's. Values are not read."""

import torch
from torch import Tensor
from torch.nn import functional

from ..classifier import Classifier, Logits, mean_of
from ..vit import Linear, initialize


class LinearHead(Classifier):
    """The pre-trained encoder plus a fully connected layer (Zhao et al. 2025, section 3.4).

    Of a vision transformer the layer reads the class token; the paper does not say which token it reads. All patches
    are visible.
    """

    RELATES = False

    def build(self, seed: int) -> None:
        self.head = Linear(self.encoder.width, self.classes)
        # Near zero, so that training starts from undecided outputs: with larger values the first epochs only unlearn
        # the confident guesses of a random layer.
        initialize(self.head, seed + 1, deviation=0.02)

    def logits(self, images: Tensor) -> Tensor:
        """Normalized images (B, 1, S, S), each by itself -> (B, classes)."""
        # In a bfloat16 bundle the head is kept in float32: rounding its few products is what moves a logit most.
        return self.head(self.encoder.features(images).to(self.head.weight.dtype))

    def of_features(self, features: Tensor, seen: Tensor, values: Tensor, given: Tensor) -> Logits:
        """In the features' or the layer's precision, whichever is higher."""
        kind = torch.promote_types(features.dtype, self.head.weight.dtype)
        found = functional.linear(features[seen].to(kind), self.head.weight.to(kind), self.head.bias.to(kind))
        branches = found.new_zeros(*seen.shape, self.classes)
        branches[seen] = found
        return Logits(mean_of(branches, seen), branches, seen)


HEAD = LinearHead
