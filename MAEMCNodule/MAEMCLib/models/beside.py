"""What a bundle brings to be told beside a number: words for characteristics, and the training nodules most alike.

Bundles without it say only their number. Importable without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..characteristics.alike import TrainingNodules
from ..characteristics.heads import Heads
from ..characteristics.ratings import word_of
from ..errors import ModelError
from .bundle import ModelBundle

LARGEST_BYTES = 64 << 20
"""Of one member: some 20,000 nodules with their pictures."""
_HEADS = {"weight": ("F32", 2), "bias": ("F32", 1)}
_NODULES = {
    **dict.fromkeys(("center", "diameters_mm"), ("F32", 1)),
    "whitening": ("F32", 2),
    **dict.fromkeys(("ratings", "thumbnails"), ("U8", 3)),
    "features": ("I8", 2),
    "patients": ("I32", 1),
}
"""Type and dimensions of each member's tensors."""


@dataclass(frozen=True)
class Beside:
    """heads: None where the bundle has none. shown: which of their characteristics are told, those in which they were
    as good as a reader. nodules: None where the bundle has none; found by the features of the member of this number."""

    heads: Heads | None = None
    shown: tuple[str, ...] = ()
    nodules: TrainingNodules | None = None
    member: int = 0

    def told(self, features: np.ndarray, observed: np.ndarray) -> list[dict[str, Any]]:
        """``characteristics`` and ``alike`` of each of B cases, as ``Prediction`` has them.

        features: (members, B, width). observed: (B,) bool; nothing is told of a case without an image.
        """
        ratings = self.heads.ratings(features) if self.heads is not None and self.shown else None
        told: list[dict[str, Any]] = []
        for case, there in enumerate(observed):
            values: dict[str, Any] = {}
            if there and ratings is not None:
                values["characteristics"] = self._words(ratings[case])
            if there and self.nodules is not None:
                values["alike"] = self.nodules.most_alike(features[self.member, case])
            told.append(values)
        return told

    def _words(self, ratings: np.ndarray) -> dict[str, dict[str, Any]]:
        known = dict(zip(self.heads.names, ratings.tolist(), strict=True))
        return {name: {"rating": round(known[name], 2), "word": word_of(name, known[name])} for name in self.shown}


def beside_of(bundle: ModelBundle, width: int) -> Beside:
    """What a bundle brings. width: of its networks' features. Raises ModelError for members that cannot be used."""
    card, heads = bundle.card, None
    if names := card.members("characteristics"):
        members = [_arrays(bundle, name, _HEADS) for name in names]
        section = card.values["characteristics"]
        try:
            heads = Heads.of(members, section["names"], width)
        except ValueError as error:
            raise _unusable(bundle, "heads for characteristics", error) from error
    nodules = training_nodules(bundle)
    if nodules is not None and len(nodules.center) != width:
        raise _unusable(bundle, "training nodules", f"they have {len(nodules.center)} features, its network {width}")
    shown = tuple(card.values["characteristics"]["shown"]) if heads is not None else ()
    return Beside(heads, shown, nodules, card.values["alike"]["member"] if nodules is not None else 0)


def training_nodules(bundle: ModelBundle) -> TrainingNodules | None:
    """The training nodules that a bundle shows; None where it shows none. Raises ModelError as ``beside_of``."""
    for name in bundle.card.members("alike"):
        arrays = _arrays(bundle, name, _NODULES)
        try:
            return TrainingNodules.of(arrays, bundle.card.values["alike"]["names"])
        except ValueError as error:
            raise _unusable(bundle, "training nodules", error) from error
    return None


def _arrays(bundle: ModelBundle, name: str, expected: Mapping[str, tuple[str, int]]) -> dict[str, np.ndarray]:
    """A member's tensors, looked at only when its header says what is expected, and not too much of it."""
    header = bundle.header(name)
    fits = header.keys() == expected.keys() and all(
        (tensor.dtype, len(tensor.shape)) == expected[key] for key, tensor in header.items()
    )
    if not fits or bundle.card.files[name]["bytes"] > LARGEST_BYTES:
        raise _unusable(bundle, name, "other tensors than such a file holds")
    return bundle.arrays(name)


def _unusable(bundle: ModelBundle, what: str, why: object) -> ModelError:
    return ModelError(f"The {what} of {bundle.card.id} cannot be used ({why}). Get the model again.", "weights")
