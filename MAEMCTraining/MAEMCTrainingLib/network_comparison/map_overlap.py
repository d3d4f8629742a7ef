"""Do two networks look at the same places? The overlap (intersection over union, IoU) of their maps' highest parts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from ..statistics.bootstrap import mean_by_patients

SHARE = 0.2
"""Of a map's area: its highest part."""


def highest_part(maps: np.ndarray, share: float = SHARE) -> np.ndarray:
    """(maps, S, S) -> bool: the places that reach the map's quantile of 1 - share and are above its lowest value.

    A map that is flat nearly everywhere has a smaller part, and one that is flat everywhere has none.
    """
    flat = maps.reshape(len(maps), -1)
    reached = flat >= np.quantile(flat, 1 - share, axis=1, keepdims=True)
    return (reached & (flat > flat.min(axis=1, keepdims=True))).reshape(maps.shape)


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(maps, S, S) bool of both -> (maps, maps): IoU of each one's part with every one of the other's; NaN of none."""
    one, two = (parts.reshape(len(parts), -1).astype(np.float64) for parts in (first, second))
    common = one @ two.T
    either = one.sum(axis=1)[:, None] + two.sum(axis=1) - common
    return np.divide(common, either, out=np.full(common.shape, np.nan), where=either > 0)


def by_independent_places(share: float = SHARE) -> float:
    """The IoU of two large areas of this share that know nothing of each other: s^2 / (2 s - s^2)."""
    return share / (2 - share)


def overlap_figures(first: np.ndarray, second: np.ndarray, patients: np.ndarray) -> dict[str, Any]:
    """IoU of the two networks' parts (cases, S, S) bool of the same case, of different patients' cases, and how much
    more the former is; means over cases with intervals by bootstrap of patients.

    The parts of different patients share what both networks always do, such as looking at the middle. Cases whose map
    is flat in either network are left out and counted.
    """
    usable = first.any(axis=(1, 2)) & second.any(axis=(1, 2))
    patients = patients[usable]
    figures: dict[str, Any] = {"cases": int(usable.sum()), "flat": int((~usable).sum())}
    figures["by_independent_places"] = by_independent_places()
    if len(np.unique(patients)) < 2:
        return figures | dict.fromkeys(("iou", "iou_of_different_patients", "difference"))
    table = overlaps(first[usable], second[usable])
    others = patients[:, None] != patients
    own, different = np.diagonal(table), np.where(others, table, 0.0).sum(axis=1) / others.sum(axis=1)
    rows = {"iou": own, "iou_of_different_patients": different, "difference": own - different}
    return figures | {name: asdict(mean_by_patients(row, patients)) for name, row in rows.items()}
