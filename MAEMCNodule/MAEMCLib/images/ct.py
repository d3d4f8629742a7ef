"""A CT volume and its place in the patient, the home of geometry, and its axial slices as 8-bit images.

Everything is LPS millimeters (x towards the patient's Left, y towards Posterior, z towards Superior).
Slices are those of ``CTVolume.oriented``, one numbering however the volume is stored: leaving out slices, training and
scoring all take a slice of a volume from here.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from ..errors import InputError
from .examination import Examination

SMALLEST_SPACING_MM = 0.05
LARGEST_SPACING_MM = 25.0
AIR_BELOW_HU = -500.0
"""A chest CT, and every crop of one around a lung nodule, has voxels of aerated lung or air below this value."""
WINDOW_HU = (-1200.0, 200.0)
"""A width of 1400 about -500 (Zhao et al. 2025)."""
LUNG_WINDOW_HU = (-1350.0, 150.0)
"""A width of 1500 about -600: how people look at lung."""
CHECKED_VOXELS = 200_000
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm")
FACE = 2.0**-10
"""Voxels beyond the outer face that still count as on it: no decimal position lies just at this limit."""


@dataclass(frozen=True)
class ReadingRemark:
    """What reading a volume noticed and the user of its score has to know.

    code: a word for programs. message: a sentence without names, paths or DICOM's free text. amber: whether it makes
    the gate amber; otherwise it is only shown. where: the file that it is about, for the terminal alone.
    """

    code: str
    message: str
    amber: bool = True
    where: str = ""


@dataclass(frozen=True)
class CTVolume:
    """Voxels in HU with their affine.

    array: (slices k, rows j, columns i), any real dtype, HU.
    affine: (4, 4), index (i, j, k) to LPS mm at voxel centers; may be oblique, reversed or sheared (gantry tilt).
    name: shown to the user and written to results; never an identifier taken from DICOM.
    remarks: what reading noticed. absent: the slices k for which there is no image; what stands there is no
    measurement, and no region is cut from them. examination: what tells whether another volume is of the same patient.

    Raises InputError where the array is not a single-component 3-D volume or the affine is unusable.
    """

    array: np.ndarray
    affine: np.ndarray
    name: str = ""
    remarks: tuple[ReadingRemark, ...] = ()
    absent: tuple[int, ...] = ()
    examination: Examination = field(default_factory=Examination)

    def __post_init__(self) -> None:
        if self.array.ndim != 3 or min(self.array.shape) < 1:
            raise self.unusable(
                f"is not a single 3-D image (its array has shape {self.array.shape}). Choose one CT volume without a "
                "time axis or color channels.",
                "not-3d",
            )
        if self.array.dtype.kind not in "iuf":
            raise self.unusable(f"holds {self.array.dtype} values; a CT has real numbers in HU.", "not-ct")
        affine = np.asarray(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise self.unusable("has no usable position in space (affine not finite).", "geometry")
        object.__setattr__(self, "affine", affine)
        if not ((self.spacing >= SMALLEST_SPACING_MM) & (self.spacing <= LARGEST_SPACING_MM)).all():
            raise self.unusable(
                f"has a voxel spacing of {' x '.join(f'{value:.4g}' for value in self.spacing)} mm, which no CT has "
                f"({SMALLEST_SPACING_MM}-{LARGEST_SPACING_MM:g} mm are accepted). Check the file's header, or convert "
                "again from DICOM.",
                "spacing",
            )
        if abs(np.linalg.det(self.direction)) < 0.1:
            raise self.unusable("has axes that lie in one plane; its geometry cannot be used.", "geometry")

    def unusable(self, what: str, code: str) -> InputError:
        """The error for a volume that cannot be used. what: a sentence without its subject, the volume."""
        return InputError(f"{self.name or 'The volume'} {what}", code, (self.name,))

    @property
    def spacing(self) -> np.ndarray:
        """(3,) distance in mm between voxel centers along i, j, k."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def origin(self) -> np.ndarray:
        """(3,) LPS mm of the center of voxel (0, 0, 0)."""
        return self.affine[:3, 3]

    @property
    def direction(self) -> np.ndarray:
        """(3, 3) unit vectors of the i, j, k axes as columns, LPS."""
        return self.affine[:3, :3] / self.spacing

    @property
    def size(self) -> np.ndarray:
        """(3,) number of voxels along i, j, k."""
        return np.array(self.array.shape[::-1])

    @cached_property
    def inverse_affine(self) -> np.ndarray:
        """(4, 4) LPS mm to continuous index (i, j, k)."""
        return np.linalg.inv(self.affine)

    @cached_property
    def oriented(self) -> CTVolume:
        """The same voxels, as a view, with i, j and k most nearly along the patient's left, posterior and superior:
        however a scan was stored, what is computed from this is computed in one order.

        Where slices without an image do not run along k, every slice crosses them, and all are ``absent``."""
        order, signs = _axes_of(self.direction)
        array = self.array.transpose([2 - axis for axis in order[::-1]])
        array = array[tuple(slice(None, None, int(sign)) for sign in signs[::-1])]
        affine = np.eye(4)
        affine[:3, :3] = self.affine[:3, order] * signs + 0.0  # no zero is negative
        last = (self.size - 1)[list(order)] * (signs < 0)
        affine[:3, 3] = self.origin + self.affine[:3, order] @ last
        absent = self.absent if signs[2] > 0 else tuple(len(array) - 1 - k for k in self.absent)
        if absent and order[2] != 2:
            absent = tuple(range(len(array)))
        return CTVolume(array, affine, self.name, self.remarks, absent, self.examination)

    @property
    def slice_spacing(self) -> float:
        """mm between slices, measured along the axis that runs most nearly from inferior to superior."""
        return float(self.spacing[int(np.argmax(np.abs(self.direction[2])))])

    def to_index(self, points_lps: np.ndarray) -> np.ndarray:
        """(..., 3) LPS mm -> (..., 3) continuous voxel index (i, j, k)."""
        return np.asarray(points_lps, float) @ self.inverse_affine[:3, :3].T + self.inverse_affine[:3, 3]

    def to_lps(self, index: np.ndarray) -> np.ndarray:
        """(..., 3) continuous voxel index (i, j, k) -> (..., 3) LPS mm."""
        return np.asarray(index, float) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def inside(self, index: np.ndarray) -> np.ndarray:
        """(...,) True where a continuous index (..., 3) lies in the volume, voxels taken with their full extent.

        A place on the outer face is inside, whatever rounding made of it.
        """
        return ((index >= -0.5 - FACE) & (index <= self.size - 0.5 + FACE)).all(axis=-1)


def _axes_of(direction: np.ndarray) -> tuple[list[int], np.ndarray]:
    """For each of left, posterior, superior the voxel axis most nearly along it, and its sign. Ties (axes at 45
    degrees) are broken by the resulting directions, so that the order in which they were stored does not matter."""

    def turned(order: tuple[int, ...]) -> np.ndarray:
        columns = direction[:, order]
        return columns * np.where(np.diag(columns) < 0, -1.0, 1.0)

    def fit(order: tuple[int, ...]) -> tuple:
        columns = turned(order).round(6)
        return (columns.trace().round(6), *columns.ravel())

    order = list(max(itertools.permutations(range(3)), key=fit))
    return order, np.where(np.diag(direction[:, order]) < 0, -1.0, 1.0)


def check_ct(volume: CTVolume) -> None:
    """Refuse a volume whose values cannot be HU of a chest CT. Looks at an even sample of the voxels, so it is quick.

    Raises InputError naming what was found: no finite values, no air (MR, PET, label map, raw detector values), or
    values far beyond the CT scale.
    """
    step = max(1, round((volume.array.size / CHECKED_VOXELS) ** (1 / 3)))
    sample = volume.array[::step, ::step, ::step].ravel()
    finite = sample[np.isfinite(sample)] if sample.dtype.kind == "f" else sample
    if finite.size == 0:
        raise volume.unusable("holds no finite values (NaN or infinity everywhere).", "not-finite")
    low, high = float(finite.min()), float(finite.max())
    if low >= AIR_BELOW_HU:
        hint = "A chest CT has lung and air near -850 and -1000 HU."
        if low >= 0:
            hint = "Values that start at 0 are typical of a label map, an MR or a CT without its rescale intercept."
        raise volume.unusable(
            f"does not look like a chest CT: its values run from {low:g} to {high:g}, none below {AIR_BELOW_HU:g} HU. "
            f"{hint} Choose the CT volume in HU.",
            "not-ct",
        )
    if low < -33000 or np.percentile(finite, 99) > 5000 or high - low < 200:
        raise volume.unusable(
            f"does not look like a CT in HU: its values run from {low:g} to {high:g}. Choose the CT volume, not a map "
            "derived from it.",
            "not-ct",
        )


def is_volume(image: Path) -> bool:
    """Whether the image of a slice's row is the whole volume and not a picture of the slice."""
    return image.is_dir() or image.suffix.lower() not in PICTURE_SUFFIXES


def axial_slices(volume: CTVolume) -> np.ndarray:
    """(slices, rows, columns) uint8, slices towards S, rows towards P, columns towards L: HU windowed to 0 to 255."""
    stack = volume.oriented.array
    gray = np.empty(stack.shape, np.uint8)
    for number, hu in enumerate(stack):  # one at a time: a CT in float32 would take four times its memory
        gray[number] = windowed(hu)
    return gray


def windowed(hu: np.ndarray) -> np.ndarray:
    """HU -> uint8, the window [-1200, 200] HU as 0 to 255; what is not finite is at the window's ends."""
    low, high = WINDOW_HU
    inside = np.nan_to_num(np.clip(hu.astype(np.float32), low, high), nan=low)
    return np.rint((inside - low) * (255 / (high - low))).astype(np.uint8)


def slice_through(volume: CTVolume, point_lps: Sequence[float]) -> int:
    """The number of the axial slice that a point (LPS mm) lies in. Raises InputError where it lies in none."""
    number = round(float(volume.oriented.to_index(point_lps)[2]))
    if not 0 <= number < volume.oriented.size[2]:
        raise InputError("The place lies above or below the volume: it has no slice there.", "slice")
    return number


def axial_slice(volume: CTVolume, number_text: str | int) -> np.ndarray:
    """(rows, columns) uint8 of one axial slice, counted from 0, the lowest, towards S.

    Raises InputError: no CT, a number that is none of the volume's slices.
    """
    check_ct(volume)
    stack = volume.oriented.array
    try:
        number = int(number_text)
    except ValueError:
        raise InputError(f"The slice_index '{number_text}' is not a whole number.", "slice", [number_text]) from None
    if not 0 <= number < len(stack):
        raise InputError(f"The slice {number} is not in a volume of {len(stack)} slices. Correct slice_index.", "slice")
    if number in volume.oriented.absent:
        raise InputError(f"The volume has no image of the slice {number}. Transfer the series again.", "slice")
    return windowed(stack[number])
