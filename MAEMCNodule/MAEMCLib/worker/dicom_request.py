"""What a request for DICOM results says of a volume in the owner's memory, and of a nodule that was outlined there.

There are no voxels in it but those of one slice: the worker reads the volume again from its files, and both have to be
the same. Free of SimpleITK and highdicom, for the owner's process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..images.ct import CTVolume
from ..measures.mask import NoduleMask
from .protocol import decode_array, encode_array, require

if TYPE_CHECKING:
    from ..dicom_results.nodule import Outline

SAME_PLACE_MM, SAME_HU = 0.01, 0.5


@dataclass(frozen=True)
class StatedVolume:
    """What a request says of the volume that was scored, as ``CTVolume.oriented`` has it.

    affine: (4, 4) index (i, j, k) to LPS mm. shape: slices, rows, columns. number: of one of its slices. hu: (rows,
    columns), that slice.
    """

    affine: np.ndarray
    shape: tuple[int, int, int]
    number: int
    hu: np.ndarray

    @classmethod
    def of(cls, volume: CTVolume, point_lps) -> StatedVolume:
        """Of a volume, with the slice that a point (LPS mm) lies in."""
        one = volume.oriented
        number = int(np.clip(round(float(one.to_index(point_lps)[2])), 0, len(one.array) - 1))
        hu = one.array[number]
        return cls(one.affine, one.array.shape, number, hu if hu.dtype == np.int16 else hu.astype(np.float32))

    def to_json(self) -> dict[str, Any]:
        """Inverse of ``from_json``. Raises InputError for a slice that is too large to be sent."""
        values = {"affine": self.affine.tolist(), "shape": list(self.shape), "number": self.number}
        return {**values, "hu": encode_array(self.hu)}

    @classmethod
    def from_json(cls, values: object) -> StatedVolume:
        """Raises UsageError, InputError."""
        require(isinstance(values, dict), "The 'volume' of a request is an object.", "volume")
        affine, shape, number = _affine(values.get("affine")), values.get("shape"), values.get("number")
        whole = isinstance(shape, list) and len(shape) == 3 and all(type(n) is int and 0 < n < 1 << 16 for n in shape)
        known = whole and type(number) is int and 0 <= number < shape[0]
        require(known, "The 'volume' of a request has a shape and the number of a slice.", "volume")
        return cls(affine, tuple(shape), number, decode_array(values.get("hu")))

    def check(self, volume: CTVolume) -> None:
        """Raise InputError where a volume is another one."""
        one = volume.oriented
        same = one.array.shape == self.shape and self.hu.shape == one.array.shape[1:]
        if same:
            corner = np.append(np.array(self.shape[::-1]) - 1.0, 1.0)
            ends = [np.abs((one.affine - self.affine) @ at).max() for at in ([0.0, 0.0, 0.0, 1.0], corner)]
            same = max(ends) <= SAME_PLACE_MM
        if same:
            same = bool(np.abs(one.array[self.number].astype(float) - self.hu).max() <= SAME_HU)
        if not same:
            raise InputError(
                "The volume that was scored is not as its DICOM files have it: it was moved, resampled or changed, or "
                "the files are others now. No DICOM results were written; load the series again and score that.",
                "other-volume",
            )


def encode_outline(outline: Outline) -> dict[str, Any]:
    """A nodule's mask and what made it, as JSON. Raises InputError for one that is too large to be sent."""
    mask = outline.mask
    return {
        "mask": encode_array(mask.array.astype(np.int16)),
        "affine": mask.affine.tolist(),
        "islands": mask.islands,
        "algorithm": outline.algorithm,
        "version": outline.version,
        "network": outline.network,
        "parameters": list(outline.parameters),
    }


def decode_mask(values: dict[str, Any]) -> NoduleMask:
    """The mask of ``encode_outline``. Raises InputError, UsageError."""
    array, islands = decode_array(values.get("mask")) != 0, values.get("islands")
    require(array.ndim == 3 and array.any(), "The mask of an outline is 3-D and not empty.", "outline")
    require(type(islands) is int and islands > 0, "'islands' of an outline is a whole number.", "outline")
    return NoduleMask(array, _affine(values.get("affine")), islands)


def _affine(rows: object) -> np.ndarray:
    square = isinstance(rows, list) and len(rows) == 4 and all(isinstance(row, list) and len(row) == 4 for row in rows)
    numbers = square and all(isinstance(value, int | float) for row in rows for value in row)
    require(numbers, "An affine is a list of four rows of four numbers.", "affine")
    return np.array(rows, float)
