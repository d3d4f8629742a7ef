"""Bundles with random weights that tell something beside their number."""

import numpy as np
import torch
from MAEMCLib.characteristics.alike import SIDE, packed
from MAEMCLib.models.bundle import Member

WIDTH, COUNT = 32, 20
NAMES = ["lobulation", "texture"]
FIGURE = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 40}


def arrays(seed=3, count=COUNT, width=WIDTH):
    """Training nodules of random features: ten patients, two nodules each."""
    draws = np.random.default_rng(seed)
    ratings = draws.integers(1, 6, (count, 2, 4)) * (np.arange(4) < 3)
    pictures = draws.integers(0, 256, (count, SIDE, SIDE), dtype=np.uint8)
    sizes = np.where(np.arange(count) == 4, np.nan, draws.uniform(4, 30, count))
    return packed(draws.normal(size=(count, width)) * 9, np.arange(count) // 2, sizes, ratings, pictures)


def tensors(values):
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in values.items()}


def heads(seed):
    draws = np.random.default_rng(seed)
    return {"weight": draws.normal(size=(2, WIDTH)).astype(np.float32), "bias": draws.normal(size=2).astype(np.float32)}


def beside_card(random_card, **changes):
    section = {"names": NAMES, "shown": ["lobulation"], "figures": {name: {"head": FIGURE} for name in NAMES}}
    alike = {"names": ["malignancy", "margin"], "member": 1, "nodules": COUNT, "attribution": "Whose pictures: ours."}
    alike["agreement"] = {"margin": {"alike": FIGURE, "random": FIGURE}}
    return {**random_card, "characteristics": section, "alike": alike, **changes}


def beside_members(random_members, nodules=None):
    own = [Member("characteristics", f"characteristics-{n}", tensors(heads(n))) for n in range(3)]
    return [*random_members, *own, Member("alike", "alike", tensors(arrays() if nodules is None else nodules))]
