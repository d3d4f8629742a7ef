"""The voxels of a stack of slices in HU, each by its own rescale slope and intercept."""

import filecmp
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import InputError
from ..itk import itk_reason, native_path
from .grid import Grid
from .image import Slice, is_multiframe, refused

ABSENT_HU = -1000
"""The value of missing slices. It is not a measurement, and no region is cut from it."""
RLE = "1.2.840.10008.1.2.5"
PLAIN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
"""Implicit and explicit little endian, explicit big endian."""
DEFLATED = "1.2.840.10008.1.2.1.99"


def read_voxels(grid: Grid) -> np.ndarray:
    """(slices, rows, columns) in HU, missing slices filled. Raises InputError naming the file that cannot be read."""
    voxels = _read(grid.slices)
    if voxels.shape != (len(grid.slices), *grid.slices[0].shape):
        raise InputError("its images have another size than their headers say", "unreadable")
    if not grid.absent:
        return voxels
    filled = np.full((grid.depth, *voxels.shape[1:]), ABSENT_HU, voxels.dtype)
    filled[grid.numbers] = voxels
    return filled


def same_pixels(first: Path, second: Path) -> bool:
    """Whether two files of one image hold the same pixels, however each is compressed."""
    import SimpleITK as sitk

    if filecmp.cmp(first, second, shallow=False):
        return True
    try:
        images = (sitk.ReadImage(native_path(path)) for path in (first, second))
        return bool(np.array_equal(*map(sitk.GetArrayFromImage, images)))
    except RuntimeError:  # a damaged one is not the same
        return False


def _read(slices: Sequence[Slice]) -> np.ndarray:
    # GDCM would read them wrongly: frames with a scale of their own, and RLE that may be cut short.
    if any(is_multiframe(item.header) or item.header.syntax in (RLE, DEFLATED) for item in slices):
        return _rescaled(_stored(slices), slices)
    if len({_encoding(item) for item in slices}) == 1:
        return _series(slices)
    # Files that differ: SimpleITK takes the type of all from the first, and would cut the fractions of the others off.
    images = [_image(item) for item in slices]
    whole = all(image.dtype.kind in "iu" for image in images)
    return np.stack([image.astype(np.int32 if whole else np.float32) for image in images])


def _encoding(item: Slice) -> tuple:
    tags = ("BitsAllocated", "BitsStored", "PixelRepresentation")
    return item.slope, item.intercept, item.header.syntax, *(item.header.get(tag) for tag in tags)


def _series(slices: Sequence[Slice]) -> np.ndarray:
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([native_path(item.path) for item in slices])
    try:
        return sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        for item in slices:  # which one it is, ITK does not say
            _image(item)
        raise InputError(f"its images cannot be read together ({itk_reason(error)})", "unreadable") from error


def _image(item: Slice) -> np.ndarray:
    """(rows, columns) in HU of one file; GDCM decompresses and applies slope and intercept."""
    import SimpleITK as sitk

    try:
        image = sitk.GetArrayFromImage(sitk.ReadImage(native_path(item.path)))
    except RuntimeError as error:
        raise _undecoded(item) from error
    if image.size != item.shape[0] * item.shape[1]:
        raise _undecoded(item)
    return image.reshape(item.shape)


def _stored(slices: Sequence[Slice]) -> list[np.ndarray]:
    """Stored values of each slice, as they are in the file; every file is decoded once."""
    decoded: dict[Path, np.ndarray] = {}
    for item in slices:
        if item.path not in decoded:
            decoded[item.path] = _decoded(item)
    try:
        return [decoded[item.path][item.frame or 0] for item in slices]
    except IndexError as error:
        raise _undecoded(slices[0]) from error


def _decoded(item: Slice) -> np.ndarray:
    """(frames, rows, columns) of stored values."""
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # "more bytes than needed" and the like
        warnings.filterwarnings("ignore", message="(?!.*(pixel|frame|segment|bytes|decod))")
        try:
            array = pydicom.dcmread(item.path, force=True).pixel_array.reshape(-1, *item.shape)
        except Exception as error:  # no decoder, damaged or short data: pydicom raises what it pleases
            raise _undecoded(item) from error
    unused = int(item.header.number("BitsAllocated") - item.header.number("BitsStored"))
    return (array << unused) >> unused if unused else array


def _rescaled(stored: Sequence[np.ndarray], slices: Sequence[Slice]) -> np.ndarray:
    scales = [(1.0 if s.slope is None else s.slope, s.intercept or 0.0) for s in slices]
    if all(value == int(value) for scale in scales for value in scale):
        return np.stack([a.astype(np.int32) * int(m) + int(b) for a, (m, b) in zip(stored, scales, strict=True)])
    return np.stack([(a * m + b).astype(np.float32) for a, (m, b) in zip(stored, scales, strict=True)])


def _undecoded(item: Slice) -> InputError:
    from pydicom.uid import UID_dictionary

    name = "" if item.header.syntax in PLAIN else UID_dictionary.get(item.header.syntax, ("",))[0]
    how = f", compressed as {name}," if name else ""
    return refused(
        f"an image{how} cannot be decoded: it is damaged, or its compression is not supported and has to be undone",
        item.path,
        "unreadable",
    )
