"""The classifier: the encoder and one linear layer."""

from torch import Tensor, nn

from .configuration import EncoderConfiguration
from .layers import Linear, initialise
from .vit import ViT


class Classifier(nn.Module):
    """The pre-trained encoder plus a fully connected layer (Zhao et al. 2025, section 3.4).

    The layer reads the class token; the paper does not say which token it reads. All patches are visible.
    """

    def __init__(self, configuration: EncoderConfiguration, classes: int = 2, seed: int = 0) -> None:
        super().__init__()
        self.encoder = ViT(configuration, seed)
        self.head = Linear(configuration.width, classes)
        # Near zero, so that training starts from undecided outputs: with larger values the first epochs only unlearn
        # the confident guesses of a random layer.
        initialise(self.head, seed + 1, deviation=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised montages (B, 1, S, S) -> logits (B, classes)."""
        # In a bfloat16 bundle the head is kept in float32: rounding its few products is what moves a logit most.
        return self.head(self.encoder(images)[:, 0].to(self.head.weight.dtype))
