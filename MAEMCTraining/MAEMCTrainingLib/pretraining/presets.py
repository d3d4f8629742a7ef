"""The presets of pre-training: what all methods share, and each method's own values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from MAEMCLib.networks.configuration import PRESETS as NETWORKS

from ..engine.configuration import PRESETS, Optimization, PictureAugmentation, encoder_named, unknown_preset
from .configuration import PretrainingConfiguration
from .registry import method_named


def pretraining_preset(
    name: str, method: str, settings: Any, flat: bool = False, backbone: str | None = None
) -> PretrainingConfiguration:
    """The preset of a pre-training method; settings are the method's own defaults.

    flat: for 2-D pictures. backbone: as ``encoder_named`` takes it; None: the method's own choice.
    """
    if name not in PRESETS:
        raise unknown_preset(name)
    kind = method_named(method)
    network = "tiny" if name == "tiny" else "vit-large"
    published = kind.PAPER_BACKBONE if name.startswith("paper") else None
    chosen = backbone or published or kind.BACKBONE or network
    encoder = encoder_named(chosen, flat, name == "tiny")
    base = PretrainingConfiguration(method, settings, encoder, NETWORKS[network][1])
    if flat:
        base = replace(base, augmentation=PictureAugmentation(), views_per_case=1)
    if name == "tiny":
        # For a processor in minutes: a small network with patches of 25, four views of each case an epoch.
        base = replace(
            base,
            epochs=30,
            batch=16,  # at the same number of views four times the steps of batch 64, and a lower loss
            views_per_case=1 if flat else 4,
            checkpoint_seconds=60.0,
            optimization=Optimization(learning_rate=1e-3),
        )
    return kind.preset(name, base)
