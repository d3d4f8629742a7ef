"""The DICOM files that a CT was read from: what results inherit patient, study and frame of reference from."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, input_error
from ..images.ct import CTVolume
from ..images.dicom.grid import Grid
from ..images.dicom.header import is_dicom
from ..images.dicom.series import find_stack
from ..images.dicom.voxels import read_voxels

if TYPE_CHECKING:
    from pydicom import Dataset

    from ..images.dicom.stacks import Stack

SAME_PLACE_MM = 0.01
SAME_HU = 0.5
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
_FORMS = {"PatientSex": "[MFO]", "PatientBirthDate": r"\d{8}", "StudyDate": r"\d{8}", "StudyTime": r"\d{2,6}(\.\d+)?"}


@dataclass(frozen=True)
class SourceSeries:
    """The files of one stack of slices.

    images: their headers, in the order of the slices; a multi-frame file is one. planes: the slice k of the volume of
    each image, or of each frame in the order of the file. affine: (4, 4) index (i, j, k) to LPS mm. shape: slices,
    rows, columns.
    """

    images: tuple[Dataset, ...]
    planes: tuple[int, ...]
    affine: np.ndarray
    shape: tuple[int, int, int]
    grid: Grid

    @property
    def first(self) -> Dataset:
        """The header that results inherit patient and study from."""
        return self.images[0]

    def check(self, volume: CTVolume) -> None:
        """Raise InputError where a volume was not read from these files: its grid or its values are others."""
        middle = len(self.grid.slices) // 2
        k = int(self.grid.numbers[middle])
        same = volume.array.shape == self.shape and np.allclose(
            _corners(volume.affine, self.shape), _corners(self.affine, self.shape), rtol=0.0, atol=SAME_PLACE_MM
        )
        if same:
            one = Grid(self.grid.slices[middle : middle + 1], np.zeros(1, int), self.affine, 0.0)
            same = bool(np.abs(read_voxels(one)[0] - volume.array[k].astype(np.float64)).max() <= SAME_HU)
        if not same:
            raise InputError(
                "The DICOM files are not those of the volume that was scored: they hold another series or study. No "
                "DICOM results were written; score the series itself.",
                "other-study",
            )


def read_source(path: Path, series_uid: str | None = None) -> SourceSeries:
    """The series that a volume was read from. path, series_uid: as ``images.files.read_volume`` takes them.

    Raises InputError: the volume did not come from DICOM, its files are gone or cannot be used, or they do not say
    which study, series or frame of reference they belong to.
    """
    if not path.exists():
        raise InputError(
            f"The DICOM files of the volume are gone: there is no {path} any more. No DICOM results were written; put "
            "the files back and score again.",
            "source-gone",
        ).hide(path)
    if not path.is_dir() and not is_dicom(path):
        raise InputError(
            "The volume did not come from DICOM, so there is no study that DICOM results could belong to. Score the "
            "DICOM series itself, or leave the DICOM results out.",
            "not-dicom",
        )
    stack = find_stack(path, series_uid)
    slices, numbers = stack.grid.slices, [int(k) for k in stack.grid.numbers]
    shape = (stack.grid.depth, *slices[0].shape)
    if slices[0].frame is None:
        images = tuple(_header(item.path) for item in slices)
        _state_steps(images, float(abs(slices[0].normal @ stack.grid.affine[:3, 2])))
        return SourceSeries(images, tuple(numbers), stack.grid.affine, shape, stack.grid)
    image, planes = _multiframe(stack)
    return SourceSeries((image,), planes, stack.grid.affine, shape, stack.grid)


def _state_steps(images: tuple[Dataset, ...], step_mm: float) -> None:
    """What headers state of the distance between slices is often wrong, and of their thickness may be missing: of a
    segmentation's frames the one is as the slices lie, and the other is this where it is not known."""
    step = f"{step_mm:.10f}"[:16]
    for image in images:
        image.SpacingBetweenSlices = step
        if not image.get("SliceThickness"):
            image.SliceThickness = step


def _multiframe(stack: Stack) -> tuple[Dataset, tuple[int, ...]]:
    """The one file of a stack, and the slice k of each of its frames. Raises InputError: of several, or of a part."""
    slices = stack.grid.slices
    image = _header(slices[0].path)
    of_frame = {item.frame: int(k) for item, k in zip(slices, stack.grid.numbers, strict=True)}
    if len({item.path for item in slices}) > 1 or len(of_frame) != int(image.NumberOfFrames):
        raise InputError(
            "The series' slices are frames of several multi-frame files, or a part of one: no DICOM results are made "
            "of these. Convert the series to one image a file, and score that.",
            "source-frames",
        )
    return image, tuple(of_frame[frame] for frame in range(len(of_frame)))


def _header(path: Path) -> Dataset:
    """All of a file but its pixels, in UTF-8 whatever its character set was; what DICOM allows to be empty is there."""
    import pydicom

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on sloppy headers; what is used of them is checked
            data = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            data.decode()
            data.SpecificCharacterSet = "ISO_IR 192"
            for name in _MAY_BE_EMPTY:
                if name not in data or not re.fullmatch(_FORMS.get(name, "(?s).*"), str(data[name].value or "")):
                    setattr(data, name, "")
    except Exception as error:
        raise input_error(error, "The header of a slice cannot be read").hide(path) from error
    missing = [name for name in _NEEDED if not data.get(name)]
    if missing:
        raise InputError(
            f"The series states no {missing[0]}, without which nothing can be placed in its study. No DICOM results "
            "were written; export the series again with its identifiers.",
            "source-header",
        )
    return data


def _corners(affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """(4, 3) LPS mm of the first voxel and the last one along each axis."""
    index = np.vstack([np.zeros(3), np.diag(np.array(shape[::-1]) - 1.0)])
    return index @ affine[:3, :3].T + affine[:3, 3]
