"""Where a network looks, as far as two of them can be compared: attention of transformers, Grad-CAM of classifiers.

Whether two look at the same places says the overlap (intersection over union, IoU) of their maps' highest parts.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from MAEMCLib.explain.attention import interpolated, rollout
from MAEMCLib.explain.grad_cam import grad_cam
from MAEMCLib.networks.vit import ViT
from torch import Tensor

from ..statistics.intervals import mean_by_patients
from .compared_network import Answers, ComparedNetwork
from .figures import MapExamples

EXAMPLES = 5
SHARE = 0.2
"""Of a map's area: its highest part."""
BY_INDEPENDENT_PLACES = SHARE / (2 - SHARE)
"""The IoU of two large areas of this share that know nothing of each other: s^2 / (2 s - s^2)."""


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


def highest_part(maps: np.ndarray) -> np.ndarray:
    """(maps, S, S) -> bool: the places that reach the map's quantile of 1 - ``SHARE`` and are above its lowest value.

    A map that is flat nearly everywhere has a smaller part, and one that is flat everywhere has none.
    """
    flat = maps.reshape(len(maps), -1)
    reached = flat >= np.quantile(flat, 1 - SHARE, axis=1, keepdims=True)
    return (reached & (flat > flat.min(axis=1, keepdims=True))).reshape(maps.shape)


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(maps, S, S) bool of both -> (maps, maps): IoU of each one's part with every one of the other's; NaN of none."""
    one, two = (parts.reshape(len(parts), -1).astype(np.float64) for parts in (first, second))
    common = one @ two.T
    either = one.sum(axis=1)[:, None] + two.sum(axis=1) - common
    return np.divide(common, either, out=np.full(common.shape, np.nan), where=either > 0)


def overlap_figures(first: np.ndarray, second: np.ndarray, patients: np.ndarray) -> dict[str, Any]:
    """IoU of the two networks' parts (cases, S, S) bool of the same case, of different patients' cases, and how much
    more the former is; means over cases with intervals by bootstrap of patients.

    The parts of different patients share what both networks always do, such as looking at the middle. Cases whose map
    is flat in either network are left out and counted.
    """
    usable = first.any(axis=(1, 2)) & second.any(axis=(1, 2))
    patients = patients[usable]
    figures: dict[str, Any] = {"cases": int(usable.sum()), "flat": int((~usable).sum())}
    figures["by_independent_places"] = BY_INDEPENDENT_PLACES
    if len(np.unique(patients)) < 2:
        return figures | dict.fromkeys(("iou", "iou_of_different_patients", "difference"))
    table = overlaps(first[usable], second[usable])
    others = patients[:, None] != patients
    own, different = np.diagonal(table), np.where(others, table, 0.0).sum(axis=1) / others.sum(axis=1)
    rows = {"iou": own, "iou_of_different_patients": different, "difference": own - different}
    return figures | {name: asdict(mean_by_patients(row, patients)) for name, row in rows.items()}


def compare_maps(
    networks: Sequence[ComparedNetwork], answers: Sequence[Answers], patients: np.ndarray
) -> tuple[dict[str, Any], MapExamples | None]:
    """The overlap of the maps at the larger network's side, and a few cases of it to be drawn."""
    side = max(network.side for network in networks)
    maps = [enlarged(network, own.maps, side) for network, own in zip(networks, answers, strict=True)]
    parts = [highest_part(values) for values in maps]
    report = {
        "reason": "",
        "kind": "attention rollout" if isinstance(networks[0].encoder, ViT) else "Grad-CAM for the malignant class",
        "share": SHARE,
        "grids": [own.maps.shape[-1] for own in answers],
        **overlap_figures(*parts, patients),
    }
    usable = np.flatnonzero(parts[0].any(axis=(1, 2)) & parts[1].any(axis=(1, 2)))
    if not len(usable):
        return report, None
    chosen = usable[np.unique(np.linspace(0, len(usable) - 1, EXAMPLES).round().astype(int))]
    images = answers[0].pixels[chosen].reshape(len(chosen), networks[0].side, -1)
    return report, MapExamples(images, tuple(m[chosen] for m in maps), tuple(p[chosen] for p in parts))
