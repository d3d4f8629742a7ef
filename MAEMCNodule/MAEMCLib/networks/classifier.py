"""The classifier: an encoder and one linear layer."""

from torch import Tensor, nn

from .encoders import AnyEncoderConfiguration, build_encoder
from .layers import Linear, initialise


class Classifier(nn.Module):
    """The pre-trained encoder plus a fully connected layer (Zhao et al. 2025, section 3.4).

    Of a vision transformer the layer reads the class token; the paper does not say which token it reads. All patches
    are visible.
    """

    def __init__(self, configuration: AnyEncoderConfiguration, classes: int = 2, seed: int = 0) -> None:
        super().__init__()
        self.encoder = build_encoder(configuration, seed)
        self.head = Linear(self.encoder.width, classes)
        # Near zero, so that training starts from undecided outputs: with larger values the first epochs only unlearn
        # the confident guesses of a random layer.
        initialise(self.head, seed + 1, deviation=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised pictures (B, 1, S, S) -> logits (B, classes)."""
        # In a bfloat16 bundle the head is kept in float32: rounding its few products is what moves a logit most.
        return self.head(self.encoder.features(images).to(self.head.weight.dtype))
