"""Slices that are drawn: patterns, noise, and slices that change little by little."""

import numpy as np


def pattern(rows, columns, a, b):
    """A picture that is the same on every machine."""
    y, x = np.mgrid[:rows, :columns]
    return ((x * x * a + y * b * x + (y * y) // 3) % 256).astype(np.uint8)


def noise(rows, columns, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (rows, columns), dtype=np.uint8)


def drifting(count, side, seed=0):
    """Slices that change little from one to the next, as those of a CT."""
    draws = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    waves = draws.normal(size=(6, 5))
    phases = np.cumsum(draws.uniform(0.05, 0.5, (count, 6)), axis=0)
    stack = []
    for phase in phases:
        value = sum(
            w[0] * np.sin(9 * w[1] * x + 9 * w[2] * y + w[3] + w[4] * p) for w, p in zip(waves, phase, strict=True)
        )
        stack.append(np.clip(128 + 35 * value + draws.normal(0, 4, (side, side)), 0, 255).astype(np.uint8))
    return stack
