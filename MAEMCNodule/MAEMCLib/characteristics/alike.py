"""The training nodules that a network's features find most like a nodule.

Alike means: the cosine of features that are standardized by the training nodules, and made independent of each other:
of a network that tells two classes apart three directions hold nearly all of the variance, and without that every
nodule would be like some other to 0.999. The nodules have numbers, their patients too; no name, no identifier and no
pseudonym is kept of either.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..results import Alike
from .ratings import HIGHEST, RATED

SIDE = 50
"""Pixels, and mm, of a thumbnail."""
SHOWN = 3
_RIDGE = 0.1
"""Of the mean variance of all directions, added to each, so that those that hold rounding errors alone stay small: with
bfloat16 weights and 0.01 a nodule was like itself, cut anew, to 0.94."""


@dataclass(frozen=True)
class TrainingNodules:
    """N nodules. names: of the C characteristics that were rated. center: (width,), whitening: (width, width), what
    standardizes features. directions: (N, width) of length 1. patients: (N,) int. diameters_mm: (N,), NaN where
    unknown. ratings: (N, C, R) uint8, each reader's, 0 where there is none. thumbnails: (N, 50, 50) uint8, the axial
    slice in the lung window, anterior at the top, the patient's right at the left."""

    names: tuple[str, ...]
    center: np.ndarray
    whitening: np.ndarray
    directions: np.ndarray
    patients: np.ndarray
    diameters_mm: np.ndarray
    ratings: np.ndarray
    thumbnails: np.ndarray

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], names: Sequence[str]) -> TrainingNodules:
        """From what ``packed`` makes. Raises ValueError for another shape, or values that make no sense."""
        features, center, whitening = arrays["features"], arrays["center"], arrays["whitening"]
        count, width = features.shape
        shapes = {
            "center": (width,),
            "whitening": (width, width),
            "patients": (count,),
            "diameters_mm": (count,),
            "ratings": (count, len(names), arrays["ratings"].shape[-1]),
            "thumbnails": (count, SIDE, SIDE),
        }
        wrong = [name for name, shape in shapes.items() if arrays[name].shape != shape]
        if wrong or set(names) - set(RATED) or not count:
            raise ValueError(f"{', '.join(wrong) or 'names'} of {count} nodules do not fit")
        if not (np.isfinite(center).all() and np.isfinite(whitening).all()):
            raise ValueError("what standardizes features is no finite number")
        if arrays["ratings"].max(initial=0) > HIGHEST:
            raise ValueError("a rating is beyond the readers' scale")
        directions = _unit(features.astype(np.float32))
        beside = (arrays[name] for name in ("patients", "diameters_mm", "ratings", "thumbnails"))
        return cls(tuple(names), center, whitening, directions, *beside)

    def most_alike(self, features: np.ndarray, count: int = SHOWN, without: int | None = None) -> tuple[Alike, ...]:
        """The nodules nearest to features (width,), each of another patient. without: a patient none of whose nodules
        is named, which is the nodule's own where that is known."""
        cosines = self.directions @ _unit(self.standardized(features)[None])[0]
        taken, found = {without}, []
        for index in np.argsort(-cosines, kind="stable"):
            patient = int(self.patients[index])
            if patient not in taken:
                taken.add(patient)
                found.append(self._described(int(index), float(cosines[index])))
            if len(found) == count:
                break
        return tuple(found)

    def standardized(self, features: np.ndarray) -> np.ndarray:
        """(..., width) by the training nodules' own mean and covariance."""
        return (np.asarray(features, float) - self.center) @ self.whitening

    def _described(self, index: int, cosine: float) -> Alike:
        given = {name: [int(r) for r in row if r] for name, row in zip(self.names, self.ratings[index], strict=True)}
        diameter = float(self.diameters_mm[index])
        return Alike(
            number=index + 1,
            similarity=round(cosine, 4),
            diameter_mm=round(diameter, 2) if np.isfinite(diameter) else None,
            ratings={name: row for name, row in given.items() if row},
        )

    def picture(self, number: int) -> np.ndarray:
        """(50, 50) uint8 of a nodule by its number. Raises ValueError where there is none of it."""
        if not 1 <= number <= len(self.thumbnails):
            raise ValueError(f"there is no training nodule {number}")
        return self.thumbnails[number - 1]

    def png(self, number: int) -> bytes:
        """The same as a PNG of 8 bit."""
        from PIL import Image

        stream = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(self.picture(number))).save(stream, format="png")
        return stream.getvalue()


def packed(
    features: np.ndarray,
    patients: np.ndarray,
    diameters_mm: np.ndarray,
    ratings: np.ndarray,
    thumbnails: np.ndarray,
) -> dict[str, np.ndarray]:
    """The arrays of ``TrainingNodules.of`` from features (N, width) of one network.

    A direction is stored in steps of 1/127 of its longest component: a byte a feature, and cosines within 0.01.
    """
    center = features.mean(axis=0)
    whitening = _whitening(features - center)
    standardized = (features - center) @ whitening
    steps = standardized / np.maximum(np.abs(standardized).max(axis=1, keepdims=True), 1e-12) * 127
    return {
        "features": np.rint(steps).astype(np.int8),
        "center": center.astype(np.float32),
        "whitening": whitening.astype(np.float32),
        "patients": patients.astype(np.int32),
        "diameters_mm": diameters_mm.astype(np.float32),
        "ratings": ratings.astype(np.uint8),
        "thumbnails": thumbnails.astype(np.uint8),
    }


def _whitening(centered: np.ndarray) -> np.ndarray:
    """(width, width): each feature over its deviation, then turned to the principal directions, each over its own."""
    deviation = np.maximum(centered.std(axis=0), 1e-6)
    scaled = centered / deviation
    variances, directions = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    variances = np.maximum(variances, 0)
    return directions / np.sqrt(variances + _RIDGE * variances.mean() + 1e-12) / deviation[:, None]


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
