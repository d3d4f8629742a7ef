"""The voxels of a stack of slices in HU, each by its own rescale slope and intercept.

Plain pixels are read where the checked header says that they lie, so that nothing is used that was not checked.
Compressed ones are decoded by GDCM; frames and RLE, which it may read wrongly, by pydicom.
"""

import filecmp
import math
import warnings
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...files.strict_json import number_of
from ..itk import native_path
from .grid import Grid
from .image import Slice, is_multiframe, refused

ABSENT_HU = -1000
"""The value of missing slices. It is not a measurement, and no region is cut from it."""
_PLAIN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
"""Implicit and explicit little endian, explicit big endian."""
_BY_PYDICOM = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.1.99"
"""RLE, of which GDCM does not notice a cut frame, and deflated files."""
_SLOPE, _INTERCEPT = "0028|1053", "0028|1052"


def read_voxels(grid: Grid) -> np.ndarray:
    """(slices, rows, columns) in HU, missing slices filled: whole numbers, or floats where a scale has fractions.

    Raises InputError naming the file that cannot be read.
    """
    voxels = np.full((grid.depth, *grid.slices[0].shape), ABSENT_HU, np.int16)
    decoded: dict[Path, np.ndarray] = {}
    for number, item in zip(grid.numbers, grid.slices, strict=True):
        image = _hu(item, decoded)
        if not np.can_cast(image.dtype, voxels.dtype):
            voxels = voxels.astype(np.result_type(image, voxels))
        voxels[number] = image
    return voxels


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


def _hu(item: Slice, decoded: dict[Path, np.ndarray]) -> np.ndarray:
    """(rows, columns) in HU. decoded: the stored frames of files that were decoded before, to which it is added."""
    if item.header.pixel_bytes >= 0 and item.header.pixels_order == "little":
        return _rescaled(_plain(item), item)
    if not is_multiframe(item.header) and item.header.syntax not in (*_PLAIN, *_BY_PYDICOM):
        return _by_gdcm(item)
    if item.path not in decoded:
        decoded[item.path] = _by_pydicom(item)
    return _rescaled(decoded[item.path][item.frame or 0], item)


def _plain(item: Slice) -> np.ndarray:
    """(rows, columns) of stored values that are not compressed."""
    count, bits = math.prod(item.shape), int(item.header.number("BitsAllocated"))
    kind = np.dtype(f"<{'i' if item.header.number('PixelRepresentation') else 'u'}{bits // 8}")
    start = item.header.pixels_at + (item.frame or 0) * count * kind.itemsize
    try:
        array = np.fromfile(item.path, kind, count, offset=start)
    except OSError as error:
        raise _undecoded(item) from error
    if array.size != count:
        raise _undecoded(item)
    return array.reshape(item.shape)


def _by_gdcm(item: Slice) -> np.ndarray:
    """(rows, columns) in HU of a compressed file, to which GDCM has applied slope and intercept as it read them."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(native_path(item.path))
    try:
        image = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise _undecoded(item) from error
    texts = (reader.GetMetaData(tag).strip() if reader.HasMetaDataKey(tag) else "" for tag in (_SLOPE, _INTERCEPT))
    slope, intercept = (number_of(text) if text else None for text in texts)
    if image.size != math.prod(item.shape) or (slope, intercept) != (item.slope, item.intercept):
        raise _undecoded(item)
    return image.reshape(item.shape)


def _by_pydicom(item: Slice) -> np.ndarray:
    """(frames, rows, columns) of stored values."""
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # "more bytes than needed" and the like
        warnings.filterwarnings("ignore", message="(?!.*(pixel|frame|segment|bytes|decod))")
        try:
            frames = pydicom.dcmread(item.path, force=True).pixel_array.reshape(-1, *item.shape)
        except Exception as error:  # no decoder, damaged or short data: pydicom raises what it pleases
            raise _undecoded(item) from error
    if len(frames) != item.header.get("NumberOfFrames", (1,))[0]:
        raise _undecoded(item)
    return frames


def _rescaled(stored: np.ndarray, item: Slice) -> np.ndarray:
    """Stored values in HU: whole numbers of the smallest type for all that these bits can hold, or float32."""
    bits = int(item.header.number("BitsStored"))
    if unused := int(item.header.number("BitsAllocated")) - bits:  # what overlays were kept in
        stored = (stored << unused) >> unused
    slope, intercept = 1.0 if item.slope is None else item.slope, item.intercept or 0.0
    if slope != int(slope) or intercept != int(intercept):
        return (stored * slope + intercept).astype(np.float32)
    low = -(1 << bits - 1) if item.header.number("PixelRepresentation") else 0
    high = low + (1 << bits) - 1
    needed = [low, high, int(slope), *(value * int(slope) + int(intercept) for value in (low, high))]
    kind = next(
        k for k in (np.int16, np.int32, np.int64) if min(needed) >= np.iinfo(k).min and max(needed) <= np.iinfo(k).max
    )
    return stored.astype(kind) * int(slope) + int(intercept)


def _undecoded(item: Slice) -> InputError:
    from pydicom.uid import UID_dictionary

    name = "" if item.header.syntax in _PLAIN else UID_dictionary.get(item.header.syntax, ("",))[0]
    how = f", compressed as {name}," if name else ""
    return refused(
        f"an image{how} cannot be decoded: it is damaged, or its compression is not supported and has to be undone",
        item.path,
        "unreadable",
    )
