"""Published backbones, built by timm with one input channel, behind the surface that all encoders have."""

import logging
from pathlib import Path

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
        """Normalized images (B, 1, S, S) -> (B, width), pooled as the published model pools."""
        return self.body(images)

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images)


def imagenet_file(configuration: BackboneConfiguration) -> str:
    """Which file holds the backbone's ImageNet weights and what to do with it: the end of a message."""
    page = BACKBONES[configuration.backbone].imagenet
    return (
        f"bring model.safetensors of https://huggingface.co/{page} ({configuration.backbone} trained on ImageNet) and "
        "name it with --weights FILE.safetensors. Nothing is fetched."
    )


def load_imagenet(configuration: BackboneConfiguration, weights: Path) -> dict[str, Tensor]:
    """The encoder's tensors with published weights, fitted by timm: the first layer's three color channels are summed,
    the classifier goes, tables of places are brought to the image's size.

    Raises ModelError, which names the file to bring: missing, no safetensors file, weights of another network.
    """
    bring, name = imagenet_file(configuration), BACKBONES[configuration.backbone].timm_name
    check_weights_file(weights, bring)
    wrong = ModelError(f"{weights.name} does not hold the weights of timm's {name}: {bring}", "weights")
    try:
        one, other = (_published(configuration, weights, seed) for seed in (0, 1))
    except (RuntimeError, KeyError, ValueError) as error:
        raise wrong from error
    # timm passes over what a file lacks: it would stay as it was drawn, by each seed differently.
    if not all(torch.equal(tensor, other[key]) for key, tensor in one.items()):
        raise wrong
    return one


def check_weights_file(weights: Path, bring: str) -> None:
    """Raise ModelError where there is no such file or it is no safetensors file.

    bring: which file is needed, as the end of the message.
    """
    import safetensors

    if not weights.is_file():
        raise ModelError(f"There is no file {weights}: {bring}", "missing-file")
    try:
        with safetensors.safe_open(weights, "pt"):
            pass
    except (safetensors.SafetensorError, OSError) as error:
        raise ModelError(
            f"{weights.name} is no safetensors file or is damaged ({error}): {bring}", "weights"
        ) from error


def _published(configuration: BackboneConfiguration, weights: Path, seed: int) -> dict[str, Tensor]:
    log = logging.getLogger("timm")
    before = log.level
    log.setLevel(logging.ERROR)  # it would list a foreign file's tensors
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            body = _timm_model(configuration, weights)
    finally:
        log.setLevel(before)
    return {f"body.{name}": tensor for name, tensor in body.state_dict().items()}


def _timm_model(configuration: BackboneConfiguration, weights: Path | None = None) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise ModelError(
            f"The backbone {configuration.backbone} is built by the package timm, which is not installed. Install it "
            "(pip install timm), or choose a model with MAEMC's own vision transformer.",
            "timm",
        ) from error
    name = BACKBONES[configuration.backbone].timm_name
    # Models with tokens for fixed places need the size; the others take any.
    sized = {"img_size": configuration.image_size} if name.startswith(("swin", "deit")) else {}
    published = {"pretrained": True, "pretrained_cfg_overlay": {"file": str(weights)}} if weights else {}
    return timm.create_model(name, in_chans=1, num_classes=0, **sized, **published)
