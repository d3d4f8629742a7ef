"""Grad-CAM (Selvaraju et al. 2017): which places of the last feature map speak for a class. For the backbones of timm,
convolutional or not."""

from __future__ import annotations

import torch
from torch import Tensor

from ..networks.backbones import Backbone
from ..networks.heads.linear import LinearHead


def grad_cam(classifier: LinearHead, images: Tensor, positive: bool) -> Tensor:
    """(B, 1, S, S) -> (B, h, w) float32, 0 or above: ReLU of the feature maps' sum, each weighted by the spatial mean
    of the class score's gradient (Selvaraju et al. 2017, equations 1 and 2).

    The score is the class's logit minus that of the other: of two classes only this difference decides.
    """
    weight = next(classifier.encoder.parameters())
    images = images.to(weight.device, weight.dtype)
    with torch.enable_grad():
        features, logits = _features_and_logits(classifier, images)
        score = (logits[:, 1] - logits[:, 0]) * (1 if positive else -1)
        (gradient,) = torch.autograd.grad(score.sum(), features)
    places, slopes = (_places(classifier.encoder, tensor.detach().float()) for tensor in (features, gradient))
    weights = slopes.mean(dim=(2, 3), keepdim=True)
    return (weights * places).sum(dim=1).relu().cpu()


def _features_and_logits(classifier: LinearHead, images: Tensor) -> tuple[Tensor, Tensor]:
    """The last features that have places and bear on the logits, and the logits computed from them."""
    body = classifier.encoder.body
    if classifier.encoder.configuration.backbone != "deit":
        features = body.forward_features(images).detach().requires_grad_()
        return features, classifier.head(body.forward_head(features).to(classifier.head.weight.dtype))
    # Of its last block's output only the class tokens are read: what bears on them is what that block is given.
    kept: list[Tensor] = []
    hook = body.blocks[-1].norm1.register_forward_hook(
        lambda module, given, output: kept.append(output.detach().requires_grad_()) or kept[0]
    )
    try:
        logits = classifier.logits(images)
    finally:
        hook.remove()
    return kept[0], logits


def _places(encoder: Backbone, features: Tensor) -> Tensor:
    """Whatever layout timm's model has -> (B, channels, h, w); tokens without a place are left out."""
    if features.ndim == 3:
        tokens = features[:, getattr(encoder.body, "num_prefix_tokens", 0) :]
        side = round(tokens.shape[1] ** 0.5)
        return tokens.transpose(1, 2).unflatten(2, (side, side))
    channels_last = getattr(encoder.body, "output_fmt", "NCHW") == "NHWC"
    return features.permute(0, 3, 1, 2) if channels_last else features
