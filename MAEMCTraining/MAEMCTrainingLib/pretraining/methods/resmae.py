"""Res-MAE: a ResNet as a masked autoencoder, with blocks of the image set to zero.

The pre-training behind the fusion of modalities for spinal tumor subtypes; its source says that a ResNet is pre-trained
by masked image reconstruction, and no more. How the image is masked, the decoder and the loss are our reading
(methods.md, 6.3): blocks of 32 pixels are zeroed, the plain encoder sees the whole image, a light decoder
reconstructs it from the last map, and masked pixels count. ``spark`` is the principled alternative.
"""

from MAEMCLib.networks.configuration import DecoderConfiguration
from torch import Tensor

from ..parts.cnn_decoder import LightDecoder
from ..parts.masked_convolutions import blank, stage_features
from ..parts.masked_reconstruction import MaskedReconstruction


class ResMAE(MaskedReconstruction):
    """A ResNet that is given images with zeroed blocks, and the light decoder on its last map."""

    def add_parts(self, decoder: DecoderConfiguration, seed: int) -> None:
        super().add_parts(decoder, seed)
        channels, stride = self.levels[-1]
        self.decoder = LightDecoder([channels], stride, self.configuration.decoder_width, seed + 1)

    def complete(self, images: Tensor, visible: Tensor) -> Tensor:
        """Images (B, 1, S, S) of which the blocks visible (B, 1, G, G) may be seen -> images (B, 1, S, S)."""
        # Zero is the data set's mean gray.
        return self.decoder([stage_features(self.encoder.body, blank(images, visible))[-1]])
