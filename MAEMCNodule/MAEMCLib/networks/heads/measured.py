"""The linear layer, and beside it a logistic model of the nodule's diameter and attenuation, as
``measures.middle_slice`` measures them; a branch's logits are the mean of both.

Size decides most of how malignant readers call a nodule, and calcium, which a network is blind to in a window that ends
at 200 HU, speaks against it. Two numbers that can be looked at say both better than a thousand nodules teach a network.
"""

import torch
from torch import Tensor
from torch.nn import functional

from ..classifier import Logits, mean_of
from ..vit import Linear
from .linear import LinearHead

BEND_HU = 100.0
"""Below it a rise speaks for a solid nodule, above it for calcium: each side has a slope of its own."""
_LOWEST_HU, _HIGHEST_HU = -700.0, 500.0
_TERMS = 3


def terms(values: Tensor) -> Tensor:
    """(B, 2) mm and HU -> (B, 3): the logarithm of the diameter over 10 mm, and the attenuation over and under 100 HU,
    in hundreds."""
    diameter, hu = values.unbind(dim=1)
    over = (hu.clamp(_LOWEST_HU, _HIGHEST_HU) - BEND_HU) / 100.0
    return torch.stack([(diameter / 10.0).clamp_min(0.01).log(), over.clamp_min(0.0), over.clamp_max(0.0)], dim=1)


class MeasuredHead(LinearHead):
    """The logistic model is fitted before the network is trained (``set_model``), and stays. In training and where an
    epoch is chosen its values are withheld: the network learns what it can of the image, as with the linear head."""

    MEASURES = True

    def build(self, seed: int) -> None:
        super().build(seed)
        self.beside = Linear(_TERMS, self.classes).requires_grad_(False)
        torch.nn.init.zeros_(self.beside.weight)
        torch.nn.init.zeros_(self.beside.bias)

    def set_model(self, weights: Tensor, biases: Tensor) -> None:
        """(classes, 3) and (classes,), of ``terms``."""
        self.beside.weight.copy_(weights)
        self.beside.bias.copy_(biases)

    def of_values(self, values: Tensor) -> Tensor:
        """(B, 2) mm and HU -> (B, classes): the logistic model's logits, in the precision of the values."""
        weight, bias = (part.to(values.dtype) for part in (self.beside.weight, self.beside.bias))
        return functional.linear(terms(values), weight, bias)

    def of_features(self, features: Tensor, seen: Tensor, values: Tensor, given: Tensor) -> Logits:
        """As the linear head; what was not measured leaves the network's logits as they are."""
        own = super().of_features(features, seen, values, given)
        if not given.any():
            return own
        beside = self.of_values(values.to(own.branches.dtype))[:, None]
        measured = (seen & given.all(dim=1, keepdim=True))[..., None]
        branches = torch.where(measured, (own.branches + beside) / 2, own.branches)
        return Logits(mean_of(branches, seen), branches, seen)


HEAD = MeasuredHead
