"""Masks that leave a part of each small lesion visible (``--min-visible-lesion``), and how large the lesions are.

A lesion of two patches is hidden whole by more than half of all random masks that hide 75 %: the network then learns
to paint it over. For pictures with lesion masks the draw is mended just enough (methods.md, section 6.2).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from MAEMCLib.errors import UsageError


@dataclass(frozen=True)
class LesionSizes:
    """What a reader needs to judge a patch size and a mask ratio. Diameters are those of circles of the same area.

    lesions: connected regions of all masks. smallest, median: their diameter in patches; None without a lesion.
    too_large: numbers of the masks of which the wanted share cannot stay visible: more patches than any mask shows.
    """

    lesions: int
    smallest_diameter: float | None
    median_diameter: float | None
    too_large: tuple[int, ...]


def lesion_patches(mask: np.ndarray, patch_size: int) -> np.ndarray:
    """Lesion mask (S, S) bool -> (N,) bool: the patches, in row-major order, that hold a pixel of the lesion."""
    grid = len(mask) // patch_size
    tiles = (mask != 0).reshape(grid, patch_size, grid, patch_size)
    return tiles.any(axis=(1, 3)).ravel()


def patches_to_show(lesion: np.ndarray, share: float) -> int:
    """How many of a lesion's patches (N,) bool have to stay visible: their share, rounded up on exact numbers."""
    return math.ceil(int(np.count_nonzero(lesion)) * Fraction(share).limit_denominator(1_000_000))


def keep_lesion_visible(noise: np.ndarray, mask: np.ndarray, patch_size: int, hidden: int, share: float) -> np.ndarray:
    """Change the noise (N,) of a mask so that at least a share of the patches that a lesion touches stays visible.

    mask: (S, S) bool. hidden: how many patches are hidden, those of the largest noise (``split_tokens``), before and
    after. Where enough is visible already, the noise is returned as it is. Otherwise the lesion's hidden patches of the
    smallest noise change places with the other visible ones of the largest: still a random draw, no other patch moves,
    and the same noise gives the same result. The values returned then are ranks, in [0, 1).

    Raises UsageError where more patches would have to stay visible than the mask shows.
    """
    lesion = lesion_patches(mask, patch_size)
    wanted, visible = patches_to_show(lesion, share), len(noise) - hidden
    if wanted > visible:
        raise UsageError(
            f"A lesion touches {int(lesion.sum())} of {len(noise)} patches; a share of {share}, {wanted} of them, "
            f"cannot stay visible where {hidden} are hidden. Choose a smaller share, or a smaller mask_ratio.",
            "visible-lesion",
        )
    order = np.argsort(noise, kind="stable")
    of_lesion = lesion[order]
    lacking = wanted - int(of_lesion[:visible].sum())
    if lacking <= 0:
        return noise
    goes = np.flatnonzero(~of_lesion[:visible])[-lacking:]
    comes = visible + np.flatnonzero(of_lesion[visible:])[:lacking]
    order[goes], order[comes] = order[comes], order[goes]
    # Ranks instead of the swapped values: equal values would be ranked by their place again.
    ranks = np.empty(len(noise), dtype=noise.dtype)
    ranks[order] = np.arange(len(noise)) / len(noise)
    return ranks


def lesion_sizes(masks: Sequence[np.ndarray], patch_size: int, hidden: int, share: float) -> LesionSizes:
    """Measure the lesions of masks (S, S), one an image, before a run. Lesions that are too large are counted, not
    refused."""
    from scipy import ndimage  # not in Slicer, whose panel lists the kinds

    diameters, too_large = [], []
    for number, mask in enumerate(masks):
        lesion = lesion_patches(mask, patch_size)
        if patches_to_show(lesion, share) > len(lesion) - hidden:
            too_large.append(number)
        regions, _ = ndimage.label(np.asarray(mask) != 0, structure=np.ones((3, 3)))
        areas = np.bincount(regions.ravel())[1:]
        diameters += [2 * math.sqrt(area / math.pi) / patch_size for area in areas]
    smallest, median = (min(diameters), float(np.median(diameters))) if diameters else (None, None)
    return LesionSizes(len(diameters), smallest, median, tuple(too_large))
