"""Where a classifier looks: attention weights of a vision transformer's last block, attention rollout, and for the
backbones of timm Grad-CAM.

Weights over places are no explanation of a result: ``sanity`` measures what they are worth, picture by picture.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..cases.values import ClinicalValues
from ..models.predictor import Predictor
from ..networks.backbones import Backbone
from ..networks.classifier import Classifier
from ..networks.vit import ViT

LAST_BLOCK, ROLLOUT, GRAD_CAM = "attention", "rollout", "grad-cam"


@dataclass(frozen=True)
class PlaceMap:
    """A weight for each place of one image.

    kind: "attention" (last block, mean of the heads), "rollout" or "grad-cam". grid: (g, g) float32, one value a token
    or a cell of the last feature map, mean of the bundle's members. heads: (members, heads, g, g), the last block's
    heads one by one; None for kinds that have none.
    """

    kind: str
    grid: np.ndarray
    heads: np.ndarray | None = None

    def interpolated(self, side: int) -> np.ndarray:
        """(side, side)"""
        return interpolated(self.grid, side)

    def heads_interpolated(self, side: int) -> np.ndarray:
        """(members, heads, side, side)"""
        return interpolated(self.heads, side)


@dataclass(frozen=True)
class ExplainedImage:
    """An image of a case, (side, side) network input, and the class that its maps are of: alone, without the case's
    other images, with the values beside them."""

    predictor: Predictor
    image: np.ndarray
    target: int
    branch: str
    values: ClinicalValues = field(default_factory=ClinicalValues)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """(M, side, side) in its place -> (M,) probability of the class."""
        observed = self.predictor.alone(images, self.branch, self.values)
        return self.predictor.probabilities(observed)[:, self.target]

    def place_map(self, network: Classifier, kind: str) -> np.ndarray:
        """(g, g): the map that one member's network gives; of the last block the mean of its heads."""
        if kind == LAST_BLOCK:
            return last_block(network.encoder, self.tensor)[0].mean(dim=0).numpy()
        if kind == ROLLOUT:
            return rollout(network.encoder, self.tensor)[0].numpy()
        alone = self.predictor.alone(self.image[None], self.branch, self.values)
        return grad_cam(network, self.tensor, self.target, (alone.seen, alone.values, alone.given))[0].numpy()

    @property
    def tensor(self) -> Tensor:
        """(1, 1, side, side)"""
        return torch.from_numpy(self.image)[None, None]


def place_maps(explained: ExplainedImage) -> list[PlaceMap]:
    """The maps of an image: attention and rollout of a vision transformer, which know no class, Grad-CAM of any other
    network."""
    members = explained.predictor.members
    if has_attention(explained.predictor):
        heads = np.stack([last_block(member.encoder, explained.tensor)[0].numpy() for member in members])
        joined = np.mean([explained.place_map(member, ROLLOUT) for member in members], axis=0)
        return [PlaceMap(LAST_BLOCK, heads.mean(axis=(0, 1)), heads), PlaceMap(ROLLOUT, joined)]
    # Each member's map is scaled to 1 at its highest, since gradients of different networks have different sizes.
    maps = np.stack([explained.place_map(member, GRAD_CAM) for member in members])
    return [PlaceMap(GRAD_CAM, (maps / np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-12)).mean(axis=0))]


def has_attention(predictor: Predictor) -> bool:
    """Whether the bundle's network is our vision transformer, whose attention weights can be had."""
    return isinstance(predictor.members[0].encoder, ViT)


@torch.inference_mode()
def last_block(encoder: ViT, images: Tensor) -> Tensor:
    """(B, 1, S, S) -> (B, heads, g, g) float32: how much the class token looks at each patch in the last block.

    A head's weights and its weight of the class token itself sum to 1.
    """
    attention = encoder.attention(images.to(encoder.cls_token))[-1]
    return _grid(attention[:, :, 0, 1:].float().cpu(), encoder)


@torch.inference_mode()
def rollout(encoder: ViT, images: Tensor) -> Tensor:
    """(B, 1, S, S) -> (B, g, g) float32: attention rollout (Abnar and Zuidema 2020) from the class token.

    Each block's head-averaged attention is mixed half and half with the identity, for the residual path.
    """
    joined = None
    for attention in encoder.attention(images.to(encoder.cls_token)):
        mixed = attention.float().mean(dim=1)
        mixed = 0.5 * mixed + 0.5 * torch.eye(mixed.shape[-1], device=mixed.device)
        joined = mixed if joined is None else mixed @ joined
    return _grid(joined[:, 0, 1:].cpu(), encoder)


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


def by_patch(grid: np.ndarray, side: int) -> np.ndarray:
    """(g, g) -> (side, side) from 0, its lowest value, to 1, its highest: each patch of one value."""
    low, high = float(grid.min()), float(grid.max())
    return enlarged((grid - low) / max(high - low, 1e-12), side).astype(np.float32)


def enlarged(grid: np.ndarray, side: int) -> np.ndarray:
    """(g, g) -> (side, side): each pixel has the value of the cell that it lies in."""
    cell = np.arange(side) * len(grid) // side
    return grid[np.ix_(cell, cell)]


def interpolated(grid: np.ndarray, side: int) -> np.ndarray:
    """(..., g, g) -> (..., side, side) float32, linear between the centers of the cells."""
    lead = grid.shape[:-2]
    maps = torch.from_numpy(np.ascontiguousarray(grid, np.float32)).reshape(-1, 1, *grid.shape[-2:])
    grown = functional.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)
    return grown.reshape(*lead, side, side).numpy()


def _grid(weights: Tensor, encoder: ViT) -> Tensor:
    """(..., K) of the patches that the encoder is shown -> (..., g, g), row-major; 0 where it is shown none."""
    configuration = encoder.configuration
    every = weights.new_zeros(*weights.shape[:-1], configuration.tokens)
    every[..., list(configuration.shown)] = weights
    return every.unflatten(-1, (configuration.grid, configuration.grid))
