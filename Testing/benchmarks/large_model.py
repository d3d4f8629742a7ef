"""The published ViT-L as bundles with random weights, in float32 and bfloat16, and regions to score."""

from pathlib import Path

import numpy as np
import torch
from MAEMCLib.inputs.region import NoduleROI
from MAEMCLib.models.bundle import Member, save_bundle
from MAEMCLib.networks.configuration import EncoderConfiguration
from MAEMCLib.networks.heads.linear import LinearHead


def write_large_bundles(folder: Path) -> dict[str, Path]:
    """{"float32": path, "bfloat16": path}."""
    tensors = LinearHead(EncoderConfiguration(), 2, seed=1).state_dict()
    card = {
        "id": "vit-large-random",
        "version": "1.0",
        "title": "ViT-L with random weights",
        "architecture": {"encoder": {}, "decoder": None},
        "preprocessing": {"mean": 0.25, "std": 0.3},
        "fusion": "mean",
        "classes": ["benign-like", "malignant-like"],
        "positive_class": "malignant-like",
        "thresholds": {"rule_out": 0.5, "balanced": 0.5, "rule_in": 0.5},
        "calibration": {"calibrated": False, "reason": "random weights", "slope": 1.0, "intercept": 0.0},
        "intended_use": "Measuring time and memory.",
    }
    paths = {}
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        member = Member("classifier", "classifier", {key: tensor.to(kind) for key, tensor in tensors.items()})
        paths[name] = save_bundle(folder / name, card, [member]).path
    return paths


def regions(count: int) -> list[NoduleROI]:
    """Regions with smooth random content in the range of lung and tissue."""
    made = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        stacks = np.cumsum(rng.normal(0, 60, (2, 25, 50, 50)), axis=-1) - 600
        made.append(NoduleROI(*np.clip(stacks, -1200, 400).astype(np.float32), (0.0, 0.0, 0.0), 1.0, 0.0))
    return made
