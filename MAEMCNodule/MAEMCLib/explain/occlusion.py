"""Occlusion: how much the probability falls when a place is covered (Zeiler and Fergus 2014)."""

from __future__ import annotations

import numpy as np

from ..networks.configuration import TILES
from .attention import ExplainedImage, PlaceMap, enlarged

OCCLUSION = "occlusion"
CELLS = 10
"""Cells a side of the map: 5 mm each of a nodule's slice of 50 mm."""
COVERED = 2
"""Cells a side of the square that is covered at once."""


def occlusion(explained: ExplainedImage, tiled: bool) -> PlaceMap:
    """The mean fall of the class's probability over the squares that cover a cell; below 0 where it rises.

    A square becomes the training pictures' mean gray (0). tiled: the image is a montage, in which the same square is
    covered in all slices at once; every slice of the map is then alike.
    """
    image, tiles = explained.image, TILES if tiled else 1
    corners = [(row, column) for row in range(CELLS - COVERED + 1) for column in range(CELLS - COVERED + 1)]
    covers = np.zeros((len(corners), CELLS, CELLS), bool)
    for cover, (row, column) in zip(covers, corners, strict=True):
        cover[row : row + COVERED, column : column + COVERED] = True
    whole = explained.probabilities(image[None])[0]
    covered = [
        np.where(enlarged(np.tile(cover, (tiles, tiles)), len(image)) & np.isfinite(image), np.float32(0), image)
        for cover in covers
    ]
    falls = whole - explained.probabilities(np.stack(covered))
    grid = (covers * falls[:, None, None]).sum(axis=0) / covers.sum(axis=0)
    return PlaceMap(OCCLUSION, np.tile(grid, (tiles, tiles)).astype(np.float32))
