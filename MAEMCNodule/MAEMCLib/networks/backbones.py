"""Published backbones, built by timm with one input channel, behind the surface that all encoders have."""

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .configuration import BACKBONES, BackboneConfiguration


class Backbone(nn.Module):
    """A timm model without its classifier. The same seed gives the same values; torch's generators stay as they are."""

    def __init__(self, configuration: BackboneConfiguration, seed: int = 0) -> None:
        """Raises ModelError where timm is not installed."""
        super().__init__()
        self.configuration = configuration
        # On the CPU also under torch.device("meta"): some models keep tables that are not part of their state.
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body = _timm_model(configuration)
            if configuration.stem == "small":
                self.body.conv1 = nn.Conv2d(1, self.body.conv1.out_channels, 3, stride=1, padding=1, bias=False)
                nn.init.kaiming_normal_(self.body.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.width: int = self.body.num_features

    def features(self, images: Tensor) -> Tensor:
        """Normalized pictures (B, 1, S, S) -> (B, width), pooled as the published model pools."""
        return self.body(images)

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images)


def _timm_model(configuration: BackboneConfiguration) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise ModelError(
            f"The backbone {configuration.backbone} is built by the package timm, which is not installed. Install it "
            "(pip install timm), or choose a model with MAEMC's own vision transformer.",
            "timm",
        ) from error
    name = BACKBONES[configuration.backbone].timm_name
    # Models with tokens for fixed places have to be told the size; the others take any.
    sized = {"img_size": configuration.image_size} if name.startswith(("swin", "deit")) else {}
    return timm.create_model(name, pretrained=False, in_chans=1, num_classes=0, **sized)
