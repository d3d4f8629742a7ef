"""Every encoder by its configuration: our vision transformer, or a backbone of timm.

What all of them have: ``configuration``, ``width``, and ``features``, which gives one vector for each image.
"""

from torch import nn

from .backbones import Backbone
from .configuration import AnyEncoderConfiguration, BackboneConfiguration, encoder_configuration
from .vit import ViT

__all__ = ["AnyEncoderConfiguration", "build_encoder", "encoder_configuration"]


def build_encoder(configuration: AnyEncoderConfiguration, seed: int = 0) -> nn.Module:
    """The network, its values drawn from ``seed`` alone. Raises ModelError."""
    if isinstance(configuration, BackboneConfiguration):
        return Backbone(configuration, seed)
    return ViT(configuration, seed)
