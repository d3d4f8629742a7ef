"""Where a classifier looks: attention weights of a vision transformer's last block, and attention rollout.

Weights over places are no explanation of a result: ``sanity`` measures what they are worth, picture by picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..models.predictor import Predictor
from ..networks.vit import ViT
from .grad_cam import grad_cam

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


def place_maps(predictor: Predictor, image: np.ndarray, positive: bool) -> list[PlaceMap]:
    """The maps of an image (side, side): attention and rollout of a vision transformer, Grad-CAM of any other network.

    positive: whether Grad-CAM asks what speaks for the positive class, or for the other. Attention knows no class.
    """
    images = torch.from_numpy(image)[None, None]
    if has_attention(predictor):
        heads = np.stack([last_block(member.encoder, images)[0].numpy() for member in predictor.members])
        joined = np.mean([rollout(member.encoder, images)[0].numpy() for member in predictor.members], axis=0)
        return [PlaceMap(LAST_BLOCK, heads.mean(axis=(0, 1)), heads), PlaceMap(ROLLOUT, joined)]
    return [PlaceMap(GRAD_CAM, mean_grad_cam(predictor, images, positive)[0].numpy())]


def has_attention(predictor: Predictor) -> bool:
    """Whether the bundle's network is our vision transformer, whose attention weights can be had."""
    return isinstance(predictor.members[0].encoder, ViT)


@torch.inference_mode()
def last_block(encoder: ViT, images: Tensor) -> Tensor:
    """(B, 1, S, S) -> (B, heads, g, g) float32: how much the class token looks at each patch in the last block.

    A head's weights and its weight of the class token itself sum to 1.
    """
    weight = encoder.cls_token
    attention = encoder.attention(images.to(weight.device, weight.dtype))[-1]
    return _grid(attention[:, :, 0, 1:].float().cpu())


@torch.inference_mode()
def rollout(encoder: ViT, images: Tensor) -> Tensor:
    """(B, 1, S, S) -> (B, g, g) float32: attention rollout (Abnar and Zuidema 2020) from the class token.

    Each block's head-averaged attention is mixed half and half with the identity, for the residual path.
    """
    weight = encoder.cls_token
    joined = None
    for attention in encoder.attention(images.to(weight.device, weight.dtype)):
        mixed = attention.float().mean(dim=1)
        mixed = 0.5 * mixed + 0.5 * torch.eye(mixed.shape[-1], device=mixed.device)
        joined = mixed if joined is None else mixed @ joined
    return _grid(joined[:, 0, 1:].cpu())


def attention_rollout(predictor: Predictor, images: Tensor) -> Tensor:
    """(B, 1, S, S) -> (B, 1, S, S) in 0 ... 1: rollout, mean of members, each patch of one value."""
    maps = torch.stack([rollout(member.encoder, images) for member in predictor.members]).mean(dim=0)
    return functional.interpolate(scaled(maps)[:, None], size=images.shape[-2:], mode="nearest")


def mean_grad_cam(predictor: Predictor, images: Tensor, positive: bool) -> Tensor:
    """(B, 1, S, S) -> (B, g, g): Grad-CAM, mean of the members; each member's map scaled to 1 at its highest before,
    since gradients of different networks have different sizes."""
    maps = torch.stack([grad_cam(member, images, positive) for member in predictor.members])
    return (maps / maps.amax(dim=(2, 3), keepdim=True).clamp_min(1e-12)).mean(dim=0)


def scaled(maps: Tensor) -> Tensor:
    """(..., g, g) -> the same, each map from its lowest (0) to its highest value (1); all 0 where they are equal."""
    low, high = maps.amin(dim=(-2, -1), keepdim=True), maps.amax(dim=(-2, -1), keepdim=True)
    return (maps - low) / (high - low).clamp_min(1e-12)


def interpolated(grid: np.ndarray, side: int) -> np.ndarray:
    """(..., g, g) -> (..., side, side) float32, linear between the centers of the cells."""
    lead = grid.shape[:-2]
    maps = torch.from_numpy(np.ascontiguousarray(grid, np.float32)).reshape(-1, 1, *grid.shape[-2:])
    grown = functional.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)
    return grown.reshape(*lead, side, side).numpy()


def _grid(tokens: Tensor) -> Tensor:
    """(..., N) -> (..., g, g), row-major."""
    side = round(tokens.shape[-1] ** 0.5)
    return tokens.reshape(*tokens.shape[:-1], side, side)
