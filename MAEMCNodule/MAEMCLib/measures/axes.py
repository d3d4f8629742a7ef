"""The long and the short axis of a nodule, as a radiologist draws them on one slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SAME_PLACE_MM = 1e-9
"""Rounding: two positions this near are one."""


@dataclass(frozen=True)
class Axes:
    """Both axes of a mask, on the slice where the long one is longest.

    long_mm, short_mm: their lengths, from voxel edge to voxel edge. long_lps, short_lps: (2, 3) their ends, LPS mm.
    slice_index: the slice k of the mask.
    """

    long_mm: float
    short_mm: float
    long_lps: np.ndarray
    short_lps: np.ndarray
    slice_index: int


def axes(mask: np.ndarray, affine: np.ndarray) -> Axes:
    """The longest chord within one slice, and the longest chord of the same slice at a right angle to it.

    Two points of the mask make a chord, wherever the mask is between them: a notch does not shorten the nodule (RECIST
    1.1: Eisenhauer et al. 2009, 10.1016/j.ejca.2008.10.026; Fleischner: Bankier et al. 2017,
    10.1148/radiol.2017162894).

    mask: (slices k, rows j, columns i) bool, at least one voxel. affine: (4, 4) index (i, j, k) to LPS mm.
    """
    in_plane = _plane(affine)
    best: tuple[float, int, np.ndarray, np.ndarray] | None = None
    for k in np.flatnonzero(mask.any(axis=(1, 2))):
        edges = outline(mask[k])
        ends = np.unique(edges.reshape(-1, 2), axis=0)
        first, second, length = _farthest(ends @ in_plane)
        if best is None or length > best[0] + SAME_PLACE_MM:
            best = length, int(k), ends[[first, second]], edges
    long_mm, k, long_ends, edges = best
    short_mm, short_ends = _across(edges @ in_plane, long_ends @ in_plane)
    to_index = np.linalg.inv(in_plane)
    return Axes(long_mm, short_mm, _lps(long_ends, k, affine), _lps(short_ends @ to_index, k, affine), k)


def outline(mask: np.ndarray) -> np.ndarray:
    """(rows, columns) bool -> (E, 2, 2): the voxel edges between mask and no mask, each from (i, j) to (i, j); voxel
    centers are whole numbers, so that edges lie at halves."""
    padded = np.pad(mask, 1)
    row, column = np.nonzero(padded[1:] != padded[:-1])  # between row - 1 and row of the mask
    flat = np.stack([column - 1.5, row - 0.5, column - 0.5, row - 0.5], axis=1)
    row, column = np.nonzero(padded[:, 1:] != padded[:, :-1])
    upright = np.stack([column - 0.5, row - 1.5, column - 0.5, row - 0.5], axis=1)
    return np.concatenate([flat, upright]).reshape(-1, 2, 2)


def _plane(affine: np.ndarray) -> np.ndarray:
    """(2, 2): a step of i and one of j, each in mm along two axes at a right angle in the slice's plane."""
    along_i, along_j = affine[:3, 0], affine[:3, 1]
    first = along_i / np.linalg.norm(along_i)
    across = along_j - first * (along_j @ first)
    return np.array([[np.linalg.norm(along_i), 0.0], [along_j @ first, np.linalg.norm(across)]])


def _farthest(points: np.ndarray) -> tuple[int, int, float]:
    """The two of (N, 2) points that lie farthest apart, and their distance."""
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    first, second = np.unravel_index(np.argmax(distances), distances.shape)
    return int(first), int(second), float(distances[first, second])


def _across(edges: np.ndarray, long_ends: np.ndarray) -> tuple[float, np.ndarray]:
    """The longest chord at a right angle to the long axis, and its ends (2, 2), all in mm.

    Along a line the outermost points of the mask lie on edges, and the distance of two edges changes linearly between
    their ends: the longest chord passes through an end of an edge.
    """
    along = long_ends[1] - long_ends[0]
    along /= np.linalg.norm(along)
    turn = np.array([along, [-along[1], along[0]]]).T
    turned = edges @ turn  # (E, 2, 2): u along the long axis, v across it
    order = np.argsort(turned[:, :, 0], axis=1)
    (u0, v0), (u1, v1) = np.moveaxis(np.take_along_axis(turned, order[:, :, None], axis=1), 0, -1)
    places = np.unique(turned[:, :, 0].round(9))[:, None]
    met = (u0 - SAME_PLACE_MM <= places) & (places <= u1 + SAME_PLACE_MM)
    steep = u1 - u0 < SAME_PLACE_MM
    share = np.clip((places - u0) / np.where(steep, 1.0, u1 - u0), 0.0, 1.0)
    low = np.where(met, np.where(steep, np.minimum(v0, v1), v0 + share * (v1 - v0)), np.inf).min(axis=1)
    high = np.where(met, np.where(steep, np.maximum(v0, v1), v0 + share * (v1 - v0)), -np.inf).max(axis=1)
    widest = int(np.argmax(high - low))
    ends = np.array([[places[widest, 0], low[widest]], [places[widest, 0], high[widest]]]) @ turn.T
    return float(high[widest] - low[widest]), ends


def _lps(ends: np.ndarray, k: int, affine: np.ndarray) -> np.ndarray:
    index = np.column_stack([ends, np.full(len(ends), k)])
    return index @ affine[:3, :3].T + affine[:3, 3]
