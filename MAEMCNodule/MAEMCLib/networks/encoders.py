"""Every encoder by its configuration: our vision transformer, or a backbone of timm.

What all of them have: ``configuration``, ``width``, and ``features``, which gives one vector for each picture.
"""

from typing import Any

from torch import nn

from ..errors import ModelError
from .backbones import Backbone
from .configuration import BackboneConfiguration, EncoderConfiguration
from .vit import ViT

AnyEncoderConfiguration = EncoderConfiguration | BackboneConfiguration


def build_encoder(configuration: AnyEncoderConfiguration, seed: int = 0) -> nn.Module:
    """The network, its values drawn from ``seed`` alone. Raises ModelError."""
    if isinstance(configuration, BackboneConfiguration):
        return Backbone(configuration, seed)
    return ViT(configuration, seed)


def encoder_configuration(values: dict[str, Any]) -> AnyEncoderConfiguration:
    """The configuration that a card or a job stores. Raises ModelError for settings that this version does not know."""
    try:
        return (BackboneConfiguration if "backbone" in values else EncoderConfiguration)(**values)
    except TypeError as error:
        raise ModelError(
            f"The encoder's settings are unknown to this version ({values}). Update MAEMC.", "architecture"
        ) from error
