"""MAE: a masked autoencoder.

He et al., CVPR 2022, arXiv 2111.06377: most patches of an image are masked, a vision transformer encodes the visible
ones, a small decoder predicts the pixels of the masked ones. Patch size (the encoder's ``patch_size``, any divisor of
the image's side) and mask ratio are free: for breast ultrasound both are adapted, so that a small lesion is not masked
whole (methods.md, section 6.2). The number of masked patches is rounded, where the published code cuts: they differ by
one at some ratios, not at 75 % of 196. The 2-D position code orders its channels otherwise, which changes nothing.
"""

from torch import Tensor

from ..method import ViewBatch
from ..parts.masked_transformer import MaskedTransformer, MaskedTransformerSettings


class MAE(MaskedTransformer):
    """Encoder and decoder; the loss is the mean squared error over the pixels of the masked patches."""

    Configuration = MaskedTransformerSettings
    VIEWS = "one"

    def forward(self, batch: ViewBatch) -> tuple[dict[str, Tensor], None]:
        """The loss of one micro-batch: "loss" with its gradient, and the same as "loss_mse"."""
        loss, _, _ = self.reconstruction(batch.images[0], batch.noise[:, 0])
        return {"loss": loss, "loss_mse": loss.detach()}, None
