"""What the masked autoencoders with a vision transformer share: encoder, decoder, the loss of the masked patches."""

from dataclasses import dataclass

import torch
from MAEMCLib.errors import UsageError
from MAEMCLib.networks.configuration import DecoderConfiguration
from MAEMCLib.networks.masking import Split, masked_count, split_observed
from MAEMCLib.networks.vit import Decoder, observed_patches, patchify
from torch import Tensor, nn

from ...engine.configuration import MaskRatio
from ..method import Method, MethodSettings
from .losses import masked_mse, standardized


@dataclass(frozen=True)
class MaskedTransformerSettings(MethodSettings):
    """The settings that these methods share."""

    # Share of patches masked, rounded half up on exact numbers; 0.75 is He et al.'s choice for photographs.
    mask_ratio: MaskRatio = 0.75
    # True: what is predicted is each patch minus its own mean, over its own deviation (He et al., section 4.1). Then
    # the network predicts no gray values, and a bundle gets no autoencoder.
    norm_pixels: bool = False


class MaskedTransformer(Method):
    """A vision transformer that encodes the visible patches, and a decoder that predicts the pixels of the others."""

    def add_parts(self, decoder: DecoderConfiguration, seed: int) -> None:
        encoder = self.encoder.configuration
        self.mask_cells = encoder.tokens
        self.masked = masked_count(encoder.tokens, self.configuration.mask_ratio)
        if self.configuration.norm_pixels and encoder.patch_pixels < 2:
            raise UsageError("A patch of one pixel has no deviation: norm_pixels needs a larger patch_size.", "setting")
        self.decoder = Decoder(encoder, decoder, seed + 1)

    def split(self, images: Tensor, noise: Tensor) -> Split:
        """What noise (B, N) masks of images (B, 1, S, S): of the patches that were observed."""
        patches = patchify(images, self.encoder.configuration.patch_size)
        return split_observed(noise, self.configuration.mask_ratio, observed_patches(patches))

    def reconstruction(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Split]:
        """The mean squared error over the masked patches of images (B, 1, S, S) under noise (B, N), the encoder's
        tokens (B, 1 + K, width), and what was visible and masked."""
        split = self.split(images, noise)
        target = patchify(images, self.encoder.configuration.patch_size)
        if self.configuration.norm_pixels:
            target = standardized(target)[0]
        tokens = self.encoder(images, split.keep, split.shown)
        prediction = self.decoder(tokens, split.keep, split.shown, split.observed)
        return masked_mse(prediction, target, split.masked, split.hidden), tokens, split

    def autoencoder_state(self) -> dict[str, Tensor]:
        """ "encoder.*", "decoder.*", and as "momentum_encoder.*", which reconstructs coronal planes, the same encoder;
        {} where patches are standardized.

        The second encoder's tensors are copies: a file of tensors holds no two names for the same memory.
        """
        if self.configuration.norm_pixels:
            return {}
        state = {f"encoder.{name}": tensor for name, tensor in self.encoder.state_dict().items()}
        state |= {f"momentum_{name}": tensor.clone() for name, tensor in state.items()}
        return state | {f"decoder.{name}": tensor for name, tensor in self.decoder.state_dict().items()}

    def encoder_of(self, plane: str) -> nn.Module:
        """The encoder that images of a plane, "axial" or "coronal", are reconstructed from."""
        return self.encoder

    @torch.no_grad()
    def reconstruct(self, images: Tensor, noise: Tensor, plane: str = "axial") -> tuple[Tensor, Tensor]:
        """Reconstruct images (B, 1, S, S) masked by noise (B, N), at the mask ratio of the training.

        Returns the prediction (B, N, P) of all patches in the images' gray values and the indices (B, H) of the masked
        ones. With ``norm_pixels`` each patch gets the mean and the deviation that it has in the image: they were not
        predicted.
        """
        split = self.split(images, noise)
        tokens = self.encoder_of(plane)(images, split.keep, split.shown)
        prediction = self.decoder(tokens, split.keep, split.shown, split.observed)
        if self.configuration.norm_pixels:
            _, mean, deviation = standardized(patchify(images, self.encoder.configuration.patch_size))
            prediction = prediction * deviation + mean
        return prediction, split.masked
