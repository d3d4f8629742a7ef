"""Grad-CAM: where the features lie that speak for a class, by the gradient of its score.

Selvaraju et al. 2017, equations 1 and 2, on a timm backbone's last feature maps; and, of a network whose tokens are
whole slices, on the last feature maps of the small network that makes each slice's token: attention is as coarse as a
slice there, this tells where inside one.
"""

import torch
from torch import Tensor

from ..networks.backbones import Backbone
from ..networks.classifier import Classifier
from ..networks.configuration import TILES
from ..networks.vit import ViT, observed_patches, patchify


def has_slice_maps(encoder) -> bool:
    """Whether the network's tokens are made by a convolutional network of whole slices."""
    return isinstance(encoder, ViT) and encoder.configuration.embedding == "convolutional"


def grad_cam(
    network: Classifier, images: Tensor, target: int, beside: tuple[Tensor, Tensor, Tensor] | None = None
) -> Tensor:
    """(B, 1, S, S) -> (B, h, w) float32, 0 or above: ReLU of the feature maps' sum, each weighted by the spatial mean
    of the class score's gradient. Of slices as tokens each slice has its own maps and weights, and (h, w) is the
    montage of the slices' maps; 0 where a slice is not shown or was not observed.

    The score is the logit of the class ``target`` over those of the others: of two classes only the difference
    decides. beside: which branches of the network the images are, and values with whether they are given, as
    ``Classifier.of_features`` takes them; by default the only branch, without values.
    """
    images = images.to(next(network.encoder.parameters()))
    with torch.enable_grad():
        of_slices = has_slice_maps(network.encoder)
        features, pooled = (_slice_features if of_slices else _features)(network.encoder, images)
        none = pooled.new_zeros(len(pooled), 0)
        beside = beside or (pooled.new_ones(len(pooled), 1).bool(), none, none.bool())
        seen, values, given = (part.to(pooled.device) for part in beside)
        logits = network.of_features(pooled.unsqueeze(1) * seen.unsqueeze(2), seen, values, given).fused
        others = [number for number in range(logits.shape[1]) if number != target]
        score = logits[:, target] - logits[:, others].logsumexp(dim=1)
        (gradient,) = torch.autograd.grad(score.sum(), features)
    if of_slices:
        slopes = gradient.float().mean(dim=(2, 3), keepdim=True)
        return _montage(network.encoder, images, (slopes * features.detach().float()).sum(dim=1).relu()).cpu()
    places, slopes = (_places(network.encoder, tensor.detach().float()) for tensor in (features, gradient))
    weights = slopes.mean(dim=(2, 3), keepdim=True)
    return (weights * places).sum(dim=1).relu().cpu()


def _slice_features(encoder: ViT, images: Tensor) -> tuple[Tensor, Tensor]:
    """(M, C, s, s) the last maps of all slices that are shown and were observed, and the class tokens (B, width)."""
    kept: list[Tensor] = []
    hook = encoder.patch_embed.body.register_forward_hook(
        lambda module, given, output: kept.append(output.detach().requires_grad_()) or kept[0]
    )
    try:
        pooled = encoder.features(images)
    finally:
        hook.remove()
    return kept[0], pooled


def _montage(encoder: ViT, images: Tensor, maps: Tensor) -> Tensor:
    """(M, s, s) of the slices that are shown and were observed -> (B, 5 s, 5 s), zeros elsewhere."""
    seen = torch.zeros(len(images), encoder.configuration.tokens, dtype=torch.bool, device=images.device)
    seen[:, list(encoder.configuration.shown)] = True
    seen &= observed_patches(patchify(images, encoder.configuration.patch_size))
    every = maps.new_zeros(*seen.shape, *maps.shape[1:])
    every[seen] = maps
    return every.unflatten(1, (TILES, TILES)).transpose(2, 3).flatten(3, 4).flatten(1, 2)


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
