"""Where a network looks, as far as two of them can be compared: attention of transformers, Grad-CAM of classifiers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from MAEMCLib.explain.attention import grad_cam, interpolated, rollout
from MAEMCLib.networks.vit import ViT
from torch import Tensor

from .compared_network import ComparedNetwork


def reason_against_maps(networks: Sequence[ComparedNetwork]) -> str:
    """Why the two networks' maps cannot be compared; empty where they can."""
    first, second = networks
    if first.shown != second.shown:
        return (
            f"the networks are shown different parts of a case ({first.name}: {first.shown}; {second.name}: "
            f"{second.shown}), so that places do not compare"
        )
    transformers = [isinstance(network.encoder, ViT) for network in networks]
    if all(transformers):
        return ""
    if any(transformers):
        return "one network is MAEMC's transformer, which has attention, and the other is not and has Grad-CAM"
    if several := [n.name for n in networks if n.is_classifier and n.module.classes > 2]:
        return f"Grad-CAM is compared for the second of two classes, and {' and '.join(several)} tell more apart"
    if missing := [network.name for network in networks if not network.is_classifier]:
        return (
            f"Grad-CAM asks what speaks for a class, and {' and '.join(missing)} has no linear layer. maemc-train "
            "finetune --linear-probe gives it one and leaves the rest as it is: compare that job"
        )
    return ""


def kind_of_map(network: ComparedNetwork) -> str:
    """For people."""
    return "attention rollout" if isinstance(network.encoder, ViT) else "Grad-CAM for the malignant class"


def place_maps_of(network: ComparedNetwork, images: Tensor) -> np.ndarray:
    """(cases, 1, S, S) -> (cases, g, g) float32, as fine as the network's last places."""
    if isinstance(network.encoder, ViT):
        return rollout(network.encoder, images).numpy()
    return grad_cam(network.module, images, target=1).numpy()


def enlarged(network: ComparedNetwork, maps: np.ndarray, side: int) -> np.ndarray:
    """(cases, g, g) -> (cases, side, side): a transformer's patches with one value each, since in a montage the next
    patch may be of another slice; Grad-CAM linear between the places, as is usual.
    """
    if not isinstance(network.encoder, ViT):
        return interpolated(maps, side)
    place = np.arange(side) * maps.shape[-1] // side
    return maps[:, place[:, None], place]
