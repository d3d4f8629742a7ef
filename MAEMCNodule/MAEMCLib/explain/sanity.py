"""What a map of places is worth: does it depend on what was learned, and on the places that the result rests on?

Weight randomization (Adebayo et al. 2018) and deletion and insertion (Petsiuk et al. 2018), measured for the image at
hand and stated beside its map; deletion and insertion also for the same map turned and shifted at random, which has its
shape and knows nothing of the image.
"""

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch

from ..networks.backbones import Backbone
from ..networks.classifier import Classifier
from ..networks.configuration import TILES, EncoderConfiguration
from ..networks.vit import build_encoder, initialize
from .attention import GRAD_CAM, LAST_BLOCK, ROLLOUT, ExplainedImage, PlaceMap, enlarged, interpolated
from .grad_cam import has_slice_maps

FROM_NETWORKS = (LAST_BLOCK, ROLLOUT, GRAD_CAM)
"""Kinds of maps that one network gives at once."""

REDRAWN = 4
"""At least so many networks with new blocks are compared, over all members."""
STEPS = 10
"""Parts in which the places are taken out or put in."""
RANDOM_MAPS = 3
FINEST = 16
"""Cells a side of the lattice on which the maps of a picture are ordered, where they are not a network's tokens."""
SEED = 20252


@dataclass(frozen=True)
class Sanity:
    """Figures of one map of one image; None where the map is the same everywhere.

    randomized: rank correlation (Spearman) of the map with that of the same network, its blocks drawn anew; near 1 the
    map tells of the image, not of what was learned; None of maps that no network gives at once. deletion: mean
    probability of the class while the highest places are taken out first, lower is better; insertion: while they are
    put in first, higher is better. deletion_random, insertion_random: the mean of the same over the map turned and
    shifted at random, which a map has to beat.
    """

    randomized: float | None
    deletion: float | None
    insertion: float | None
    deletion_random: float | None
    insertion_random: float | None


def check_maps(explained: ExplainedImage, maps: list[PlaceMap], tiled: bool = False) -> list[Sanity]:
    """The figures of each map of an image; the probability is that of the class that the maps are of. tiled: the image
    is a montage."""
    kinds = [one.kind for one in maps if one.kind in FROM_NETWORKS]
    randomized = randomization(explained, kinds) if kinds else {}
    return [_figures(explained, one, randomized.get(one.kind), tiled) for one in maps]


def _figures(explained: ExplainedImage, place_map: PlaceMap, randomized: float | None, tiled: bool) -> Sanity:
    grid = place_map.grid
    by_slice = tiled and len(grid) % TILES == 0 and len(explained.image) % TILES == 0
    if not by_slice and place_map.kind == GRAD_CAM:  # the feature maps of a backbone may have a few cells, or many
        grid = interpolated(grid, min(FINEST, explained.predictor.side))
    counted = shown_cells(explained, len(grid), by_slice)
    if np.ptp(grid[counted]) == 0:
        return Sanity(randomized, None, None, None, None)
    generator = np.random.default_rng(SEED)
    drawn = [displaced(grid, counted, generator, by_slice) for _ in range(RANDOM_MAPS)]
    own, *others = [
        deletion_and_insertion(explained, _highest_first(one, counted), len(grid), by_slice) for one in (grid, *drawn)
    ]
    return Sanity(randomized, *own, *map(float, np.mean(others, axis=0)))


def shown_cells(explained: ExplainedImage, lattice: int, by_slice: bool) -> np.ndarray:
    """(n, n) bool: the cells of a lattice over the image that the network sees."""
    configuration = explained.predictor.card.encoder
    seen = np.ones((lattice, lattice), bool)
    if by_slice and isinstance(configuration, EncoderConfiguration) and configuration.grid == TILES:
        slices = np.zeros(TILES * TILES, bool)
        slices[list(configuration.shown)] = True
        seen = enlarged(slices.reshape(TILES, TILES), lattice)
    middle = (np.arange(lattice) * 2 + 1) * len(explained.image) // (2 * lattice)
    return seen & np.isfinite(explained.image[np.ix_(middle, middle)])


def displaced(grid: np.ndarray, counted: np.ndarray, generator: np.random.Generator, by_slice: bool) -> np.ndarray:
    """The map turned, mirrored and shifted around at random; of a montage each slice so, and the slices that are
    counted exchanged among themselves."""
    if not by_slice:
        return _moved(grid, generator)
    tiles, known = _tiles(grid), np.flatnonzero(_tiles(counted).any(axis=(1, 2)))
    found = tiles.copy()
    for place, origin in zip(known, generator.permutation(known), strict=True):
        found[place] = _moved(tiles[origin], generator)
    cells = len(grid) // TILES
    return found.reshape(TILES, TILES, cells, cells).swapaxes(1, 2).reshape(grid.shape)


def _moved(grid: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    turned = np.rot90(grid, generator.integers(4))
    mirrored = turned[:, ::-1] if generator.integers(2) else turned
    return np.roll(mirrored, generator.integers(len(grid), size=2), (0, 1))


def _tiles(grid: np.ndarray) -> np.ndarray:
    """(5 n, 5 n) -> (25, n, n)."""
    cells = len(grid) // TILES
    return grid.reshape(TILES, cells, TILES, cells).swapaxes(1, 2).reshape(-1, cells, cells)


def _highest_first(grid: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """The numbers of the cells that are counted."""
    values = np.where(counted, grid, -np.inf).ravel()
    return np.argsort(-values, kind="stable")[: counted.sum()]


def randomization(explained: ExplainedImage, kinds: list[str]) -> dict[str, float | None]:
    """{kind: mean rank correlation} of each member's map with that of the member with its blocks drawn anew."""
    members = explained.predictor.members
    draws = math.ceil(REDRAWN / len(members))
    correlations: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number, member in enumerate(members):
        learned = {kind: explained.place_map(member, kind) for kind in kinds}
        for draw in range(draws):
            anew = redrawn(member, SEED + number * draws + draw)
            for kind in kinds:
                correlations[kind].append(rank_correlation(learned[kind], explained.place_map(anew, kind)))
    defined = {kind: [value for value in values if value is not None] for kind, values in correlations.items()}
    return {kind: float(np.mean(values)) if values else None for kind, values in defined.items()}


def redrawn(member: Classifier, seed: int) -> Classifier:
    """A copy of a network whose encoder's blocks have new random values; patch embedding, class token and
    what comes after the encoder stay. Of a timm backbone, which has no such parts in common, and of one whose tokens
    are made by a convolutional network, all of the encoder is new."""
    anew = copy.deepcopy(member)
    if isinstance(member.encoder, Backbone) or has_slice_maps(member.encoder):
        anew.encoder = build_encoder(member.encoder.configuration, seed).to(next(member.encoder.parameters()))
        return anew.eval().requires_grad_(False)
    for norm in anew.encoder.blocks.modules():
        if isinstance(norm, torch.nn.LayerNorm):
            norm.reset_parameters()
    initialize(anew.encoder.blocks, seed)
    return anew


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Spearman's correlation of two arrays of one shape; None where one of them is the same everywhere."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def deletion_and_insertion(
    explained: ExplainedImage, order: np.ndarray, lattice: int, by_slice: bool = False
) -> tuple[float, float]:
    """Areas under the curves of the class's probability against the share of places taken out, and put in.

    order: the numbers of the cells of a lattice x lattice over the image, the first to go first; what is not among them
    stays. What is taken out becomes the training pictures' mean gray (0); what is put in goes into a picture of 4 x 4
    blurred patches, of a montage into slices of 2 x 2.
    """
    image, rank = explained.image, np.full(lattice * lattice, len(order) + 1)
    blurred = _blurred(explained, by_slice)
    rank[order] = np.arange(len(order))
    places = enlarged(rank.reshape(lattice, lattice), len(image))
    images = []
    counts = np.unique(np.rint(np.linspace(0, len(order), STEPS + 1)).astype(int))
    for count in counts:
        first = places < count
        images += [np.where(first, np.float32(0), image), np.where(first, image, blurred)]
    probability = explained.probabilities(np.stack(images).astype(np.float32))
    share = counts / len(order)
    return float(np.trapezoid(probability[::2], share)), float(np.trapezoid(probability[1::2], share))


def _blurred(explained: ExplainedImage, by_slice: bool) -> np.ndarray:
    side = len(explained.image)
    by_slice = by_slice and side % TILES == 0  # a network's montage may have been brought to another side
    cells = 2 * TILES if by_slice else 4
    coarse = torch.nn.functional.adaptive_avg_pool2d(explained.tensor, cells)[0, 0].numpy()
    if not by_slice:
        return interpolated(coarse, side)
    tiles = coarse.reshape(TILES, 2, TILES, 2).swapaxes(1, 2)
    return interpolated(tiles, side // TILES).swapaxes(1, 2).reshape(side, side)


def _ranks(values: np.ndarray) -> np.ndarray:
    """(...) -> (n,) ranks, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values.ravel(), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]
