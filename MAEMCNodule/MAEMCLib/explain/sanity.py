"""What a map of places is worth: does it depend on what was learned, and on the places that the result rests on?

Weight randomization (Adebayo et al. 2018) and deletion and insertion (Petsiuk et al. 2018), measured for the image at
hand and stated beside its map.
"""

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch

from ..networks.backbones import Backbone
from ..networks.classifier import Classifier
from ..networks.encoders import build_encoder
from ..networks.layers import initialize
from .attention import ExplainedImage, PlaceMap, enlarged, has_attention, interpolated

REDRAWN = 4
"""At least so many networks with new blocks are compared, over all members."""
STEPS = 10
"""Parts in which the places are taken out or put in."""
RANDOM_ORDERS = 3
FINEST = 16
"""Cells a side of the lattice on which maps of another size than a network's tokens are ordered."""
SEED = 20252


@dataclass(frozen=True)
class Sanity:
    """Figures of one map of one image; None where the map is the same everywhere.

    randomized: rank correlation (Spearman) of the map with that of the same network, its blocks drawn anew; near 1 the
    map tells of the image, not of what was learned. deletion: mean probability of the class while the highest places
    are taken out first, lower is better; insertion: while they are put in first, higher is better. deletion_random,
    insertion_random: the same in a random order, which a map has to beat.
    """

    randomized: float | None
    deletion: float | None
    insertion: float | None
    deletion_random: float
    insertion_random: float


def check_maps(explained: ExplainedImage, maps: list[PlaceMap]) -> list[Sanity]:
    """The figures of each map of an image; the probability is that of the class that the maps are of."""
    lattice = len(maps[0].grid) if has_attention(explained.predictor) else min(FINEST, explained.predictor.side)
    generator = np.random.default_rng(SEED)
    chance = [generator.permutation(lattice**2) for _ in range(RANDOM_ORDERS)]
    by_chance = np.mean([deletion_and_insertion(explained, order) for order in chance], axis=0)
    randomized = randomization(explained, [place_map.kind for place_map in maps])
    figures = []
    for place_map in maps:
        deletion = insertion = None
        if np.ptp(place_map.grid) > 0:
            values = place_map.grid if len(place_map.grid) == lattice else interpolated(place_map.grid, lattice)
            highest_first = np.argsort(-values.ravel(), kind="stable")
            deletion, insertion = deletion_and_insertion(explained, highest_first)
        figures.append(Sanity(randomized[place_map.kind], deletion, insertion, *map(float, by_chance)))
    return figures


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
    what comes after the encoder stay. Of a timm backbone, which has no such parts in common, all is new."""
    anew = copy.deepcopy(member)
    if isinstance(member.encoder, Backbone):
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


def deletion_and_insertion(explained: ExplainedImage, order: np.ndarray) -> tuple[float, float]:
    """Areas under the curves of the class's probability against the share of places taken out, and put in.

    order: (n * n,) the cells of an n x n lattice, the first to go first. What is taken out becomes the training
    pictures' mean gray (0); what is put in goes into a picture of 4 x 4 blurred patches.
    """
    image, lattice = explained.image, math.isqrt(len(order))
    coarse = torch.nn.functional.adaptive_avg_pool2d(explained.tensor, 4)[0, 0].numpy()
    blurred = interpolated(coarse, len(image))
    rank = np.empty(len(order), int)
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


def _ranks(values: np.ndarray) -> np.ndarray:
    """(...) -> (n,) ranks, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values.ravel(), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]
