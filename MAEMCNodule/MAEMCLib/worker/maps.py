"""Heat maps with what they are worth, and the montage as the model saw it, between a worker and its owner."""

from dataclasses import dataclass

import numpy as np

from ..figures.heat_maps import HeatMap, heat_maps
from .protocol import decode_array, encode_array


@dataclass(frozen=True)
class MeasuredMaps:
    """maps: of all branches. seen: by branch, what the networks were shown, in the input's own unit, NaN where nothing
    was observed; of a nodule (25, n, n) slices. shown: numbers of the slices that they are shown; empty of a
    picture."""

    maps: tuple[HeatMap, ...]
    seen: dict[str, np.ndarray]
    shown: tuple[int, ...]


def encode_maps(explanation) -> dict:
    """What ``decode_maps`` reads. explanation: ``explain.explanation.Explanation``, measured."""
    maps = [
        {**vars(one), "heat": None if one.heat is None else encode_array(one.heat)} for one in heat_maps(explanation)
    ]
    return {
        "maps": maps,
        "seen": {branch: encode_array(array) for branch, array in explanation.seen.items()},
        "shown": list(explanation.shown) if explanation.card.kind.tiled else [],
    }


def decode_maps(message: dict) -> MeasuredMaps:
    """Of an answer to "explain" that was to be measured."""
    maps = tuple(
        HeatMap(**{**one, "heat": None if one["heat"] is None else decode_array(one["heat"]),
                   "weights": tuple(one["weights"])})
        for one in message["maps"]
    )  # fmt: skip
    seen = {branch: decode_array(array) for branch, array in message["seen"].items()}
    return MeasuredMaps(maps, seen, tuple(message["shown"]))
