"""Each heat map of an explanation as a panel shows it: over the middle slice or the picture, with what it is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..networks.configuration import MIDDLE_SLICE, TILES
from .words import TITLES, worth_caption


@dataclass(frozen=True)
class HeatMap:
    """kind, title: of the map, for programs and for people. heat: (n, n) over the middle slice of a nodule or over the
    picture, from 0 to 1, its highest; of occlusion from -1 to 1, below 0 where the probability rises. None where the
    map tells slices apart and no places in them. weights: of the slices that are shown, then; they sum to 1. worth: the
    deletion and insertion figures beside those of a random map, two lines; empty where they were not measured."""

    branch: str
    kind: str
    title: str
    heat: np.ndarray | None
    weights: tuple[float, ...] = ()
    worth: str = ""


def heat_maps(explanation) -> list[HeatMap]:
    """Those of all branches, of what the networks are shown. explanation: ``explain.explanation.Explanation``."""
    found = []
    for branch, maps in explanation.maps.items():
        measured = explanation.sanity.get(branch) or [None] * len(maps)
        for one, sanity in zip(maps, measured, strict=True):
            worth = worth_caption(sanity) if sanity is not None else ""
            tiled = explanation.card.kind.tiled and len(one.grid) % TILES == 0
            if tiled and len(one.grid) == TILES:
                shown = one.grid.ravel()[list(explanation.shown)]
                weights = tuple((shown / max(float(shown.sum()), 1e-12)).tolist())
                found.append(HeatMap(branch, one.kind, TITLES[one.kind], None, weights, worth))
            else:
                heat = _middle(one.grid) if tiled else one.grid
                scaled = heat / max(float(np.abs(one.grid).max()), 1e-12)
                found.append(HeatMap(branch, one.kind, TITLES[one.kind], scaled.astype(np.float32), (), worth))
    return found


def _middle(grid: np.ndarray) -> np.ndarray:
    """(5 n, 5 n) of a montage -> (n, n) of its middle slice."""
    cells = len(grid) // TILES
    row, column = divmod(MIDDLE_SLICE, TILES)
    return grid[row * cells : (row + 1) * cells, column * cells : (column + 1) * cells]
