"""Grad-CAM (Selvaraju et al. 2017): which places of the last feature map speak for a class. For the backbones of timm,
convolutional or not."""

from __future__ import annotations

import torch
from torch import Tensor

from ..networks.backbones import Backbone
from ..networks.classifier import Classifier


def grad_cam(
    network: Classifier, images: Tensor, target: int, beside: tuple[Tensor, Tensor, Tensor] | None = None
) -> Tensor:
    """(B, 1, S, S) -> (B, h, w) float32, 0 or above: ReLU of the feature maps' sum, each weighted by the spatial mean
    of the class score's gradient (Selvaraju et al. 2017, equations 1 and 2).

    The score is the logit of the class ``target`` over those of the others: of two classes only the difference
    decides. beside: which branches of the network the images are, and values with whether they are given, as
    ``Classifier.of_features`` takes them; by default the only branch, without values.
    """
    images = images.to(next(network.encoder.parameters()))
    with torch.enable_grad():
        features, pooled = _features(network.encoder, images)
        none = pooled.new_zeros(len(pooled), 0)
        beside = beside or (pooled.new_ones(len(pooled), 1).bool(), none, none.bool())
        seen, values, given = (part.to(pooled.device) for part in beside)
        logits = network.of_features(pooled.unsqueeze(1) * seen.unsqueeze(2), seen, values, given).fused
        others = [number for number in range(logits.shape[1]) if number != target]
        score = logits[:, target] - logits[:, others].logsumexp(dim=1)
        (gradient,) = torch.autograd.grad(score.sum(), features)
    places, slopes = (_places(network.encoder, tensor.detach().float()) for tensor in (features, gradient))
    weights = slopes.mean(dim=(2, 3), keepdim=True)
    return (weights * places).sum(dim=1).relu().cpu()


def _features(encoder: Backbone, images: Tensor) -> tuple[Tensor, Tensor]:
    """The last features that have places and bear on the logits, and what the encoder makes of them: (B, width)."""
    body = encoder.body
    if encoder.configuration.backbone != "deit":
        features = body.forward_features(images).detach().requires_grad_()
        return features, body.forward_head(features)
    # Of its last block's output only the class tokens are read: what bears on them is what that block is given.
    kept: list[Tensor] = []
    hook = body.blocks[-1].norm1.register_forward_hook(
        lambda module, given, output: kept.append(output.detach().requires_grad_()) or kept[0]
    )
    try:
        pooled = encoder.features(images)
    finally:
        hook.remove()
    return kept[0], pooled


def _places(encoder: Backbone, features: Tensor) -> Tensor:
    """Whatever layout timm's model has -> (B, channels, h, w); tokens without a place are left out."""
    if features.ndim == 3:
        tokens = features[:, getattr(encoder.body, "num_prefix_tokens", 0) :]
        side = round(tokens.shape[1] ** 0.5)
        return tokens.transpose(1, 2).unflatten(2, (side, side))
    channels_last = getattr(encoder.body, "output_fmt", "NCHW") == "NHWC"
    return features.permute(0, 3, 1, 2) if channels_last else features
