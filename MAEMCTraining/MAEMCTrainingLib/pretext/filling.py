"""Filling hidden pixels of a montage without having learned anything: what masked reconstruction has to beat.

All functions take stacks (B, 25, S, S) as ``from_montage`` makes them and ``visible`` (B, 25, S, S) bool, and return
stacks of the same shape as float64. Pixels may be hidden by whole slices or by parts of slices: each place in the plane
is looked at by itself, along the slices.
"""

import numpy as np


def gray_mean(stacks: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """The mean of all visible pixels of the montage, one value for every pixel."""
    axes = (1, 2, 3)
    total = np.where(visible, stacks, 0.0).sum(axis=axes, dtype=np.float64, keepdims=True)
    return np.broadcast_to(total / visible.sum(axis=axes, keepdims=True), stacks.shape)


def visible_mean(stacks: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """At each place in the plane the mean over the slices that show it; where none does, ``gray_mean``."""
    seen = visible.sum(axis=1, keepdims=True)
    total = np.where(visible, stacks, 0.0).sum(axis=1, dtype=np.float64, keepdims=True)
    mean = np.divide(total, seen, out=np.zeros_like(total), where=seen > 0)
    return np.where(seen > 0, mean, gray_mean(stacks, visible))


def interpolated(stacks: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """At each place in the plane linear between the nearest slices before and after that show it.

    Before the first and after the last of them, the nearest; where none does, ``gray_mean``.
    """
    count = stacks.shape[1]
    number = np.arange(count)[None, :, None, None]
    before = np.maximum.accumulate(np.where(visible, number, -1), axis=1)
    after = np.minimum.accumulate(np.where(visible, number, count)[:, ::-1], axis=1)[:, ::-1]
    none = (before < 0) & (after == count)
    first, last = np.where(before < 0, after, before), np.where(after == count, before, after)
    first, last = (np.clip(part, 0, count - 1) for part in (first, last))
    share = np.divide(number - first, last - first, out=np.zeros(stacks.shape), where=last > first)
    low, high = (np.take_along_axis(stacks, part, axis=1).astype(np.float64) for part in (first, last))
    return np.where(none, gray_mean(stacks, visible), low + share * (high - low))


GRAY_MEAN, VISIBLE_MEAN = "mean of all visible pixels", "visible mean per position"
INTERPOLATION = "linear between visible slices"
FILLINGS = {GRAY_MEAN: gray_mean, VISIBLE_MEAN: visible_mean, INTERPOLATION: interpolated}
