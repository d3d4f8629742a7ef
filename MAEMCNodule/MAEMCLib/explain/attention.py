"""Where a classifier looks: attention weights of a vision transformer's last block, attention rollout, and where its
network has feature maps Grad-CAM.

Weights over places are no explanation of a result: ``sanity`` measures what they are worth, picture by picture.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..cases.values import ClinicalValues
from ..models.predictor import Predictor
from ..networks.classifier import Classifier
from ..networks.configuration import TILES
from ..networks.vit import ViT
from .grad_cam import grad_cam, has_slice_maps

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
    """The maps of an image: attention and rollout of a vision transformer, which know no class; Grad-CAM, which does,
    of any other network, and of a vision transformer whose slices become tokens by a convolutional network."""
    members = explained.predictor.members
    found = []
    if has_attention(explained.predictor):
        heads = np.stack([last_block(member.encoder, explained.tensor)[0].numpy() for member in members])
        joined = np.mean([explained.place_map(member, ROLLOUT) for member in members], axis=0)
        found = [PlaceMap(LAST_BLOCK, heads.mean(axis=(0, 1)), heads), PlaceMap(ROLLOUT, joined)]
        if not has_slice_maps(members[0].encoder):
            return found
    # Each member's map is scaled to 1 at its highest, since gradients of different networks have different sizes.
    maps = np.stack([explained.place_map(member, GRAD_CAM) for member in members])
    highest = np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-12)
    return [*found, PlaceMap(GRAD_CAM, (maps / highest).mean(axis=0))]


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


def by_patch(grid: np.ndarray, side: int) -> np.ndarray:
    """(g, g) -> (side, side) from 0, its lowest value, to 1, its highest: each patch of one value."""
    low, high = float(grid.min()), float(grid.max())
    return enlarged((grid - low) / max(high - low, 1e-12), side).astype(np.float32)


def enlarged(grid: np.ndarray, side: int) -> np.ndarray:
    """(g, g) -> (side, side): each pixel has the value of the cell that it lies in."""
    cell = np.arange(side) * len(grid) // side
    return grid[np.ix_(cell, cell)]


def grown(grid: np.ndarray, side: int, tiled: bool) -> np.ndarray:
    """(g, g) -> (side, side) from 0 to 1, its highest value: linear between the centers of the cells, in a montage
    within each slice, whose neighbors in the picture are none in the patient."""
    cells = len(grid) // TILES
    if tiled and len(grid) == cells * TILES and side % TILES == 0:
        tiles = grid.reshape(TILES, cells, TILES, cells).swapaxes(1, 2)
        enlarged_map = interpolated(tiles, side // TILES).swapaxes(1, 2).reshape(side, side)
    else:
        enlarged_map = interpolated(grid, side)
    return (enlarged_map / max(float(enlarged_map.max()), 1e-12)).clip(0.0).astype(np.float32)


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
