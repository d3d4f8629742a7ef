"""MetaImage headers, by the definition of the format (itk.org/Wiki/ITK/MetaIO/Documentation)."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...files.regular_file import open_regular
from .header import (
    LONGEST_HEADER,
    VolumeHeader,
    beside,
    check_finite,
    check_size,
    check_spacing,
    damaged,
    integers,
    not_3d,
    numbers,
    unstated,
    unsupported,
)
from .voxels import StoredVoxels

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
# fmt: off
_KEYS = {
    "ObjectType", "NDims", "DimSize", "BinaryData", "BinaryDataByteOrderMSB", "CompressedData",
    "CompressedDataSize", "HeaderSize", "ElementType", "ElementNumberOfChannels", "ElementDataFile",
    "TransformMatrix", "Offset", "ElementSpacing", "ElementSize", "DistanceUnits",
    "ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset",
}
# fmt: on
_OTHER_NAMES = {
    "Rotation": "TransformMatrix",
    "Orientation": "TransformMatrix",
    "Position": "Offset",
    "Origin": "Offset",
    "ElementByteOrderMSB": "BinaryDataByteOrderMSB",
}


def read_header(path: Path) -> VolumeHeader:
    """The header of a ``.mha`` or ``.mhd`` file. Raises InputError, OSError."""
    with open_regular(path) as stream:
        fields = _fields(path, stream)
        start = stream.tell()
    for needed in ("NDims", "DimSize", "ElementType"):
        if needed not in fields:
            raise damaged(path, f"its header has no line '{needed}'")
    if fields.get("ObjectType", "Image") != "Image":
        raise unsupported(path, "it holds no image", "Give the image.")
    size = _size(path, fields)
    _check_values(path, fields)
    affine, missing = _affine(path, fields)
    return VolumeHeader(size, affine, _stored(path, fields, math.prod(size), start), unstated(missing))


def _fields(path: Path, stream: BinaryIO) -> dict[str, str]:
    """Lines by their key, up to ElementDataFile, behind which voxels may follow at once."""
    fields: dict[str, str] = {}
    seen: set[str] = set()
    while line := stream.readline(LONGEST_HEADER - stream.tell()):
        text = line.decode("utf-8", "surrogateescape").strip()
        if not text:
            continue
        found = re.fullmatch(r"([^=:]*[^=:\s])\s*[=:]\s*(.*)", text)
        if not found or "\0" in text:
            raise damaged(path, "a line of its header is no 'Key = value'")
        key = _OTHER_NAMES.get(found[1], found[1])
        if key not in _KEYS:
            continue  # a remark, or a value that ITK took over from DICOM
        if found[1] in seen or fields.get(key, found[2]) != found[2]:  # two names of one thing may stand together
            raise damaged(path, f"its header has the line '{key}' twice")
        seen.add(found[1])
        fields[key] = found[2]
        if key == "ElementDataFile":
            return fields
    raise damaged(path, "its header has no line 'ElementDataFile'")


def _size(path: Path, fields: dict[str, str]) -> tuple[int, int, int]:
    (dimension,) = integers(path, "NDims", fields["NDims"], 1)
    if not 1 <= dimension <= 10:
        raise damaged(path, f"it states {dimension} dimensions")
    size = integers(path, "DimSize", fields["DimSize"], dimension)
    (channels,) = integers(path, "ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1"), 1)
    if channels != 1:
        raise not_3d(path, f"{channels} values a voxel")
    if dimension != 3:
        raise not_3d(path, f"{dimension} dimensions")
    return check_size(path, size)


def _check_values(path: Path, fields: dict[str, str]) -> None:
    """Refuse what would change the meaning of a number: text instead of bytes, another unit, a scale."""
    if not _truth(path, fields, "BinaryData", True):
        raise unsupported(path, "its voxels are written as text", "Save it in binary.")
    if fields.get("DistanceUnits", "mm").lower() not in ("mm", "?", ""):
        raise unsupported(path, "it states its lengths in another unit than mm", "Save it in mm.", "geometry")
    for key, neutral in (("ElementToIntensityFunctionSlope", 1.0), ("ElementToIntensityFunctionOffset", 0.0)):
        if key in fields and numbers(path, key, fields[key]) != [neutral]:
            raise unsupported(path, "it states a scale of its values, which readers ignore", "Save it in HU.", "not-ct")


def _stored(path: Path, fields: dict[str, str], count: int, start: int) -> StoredVoxels:
    code = _TYPES.get(fields["ElementType"])
    if code is None:
        raise unsupported(path, "its type of voxels is not one of real numbers", "Save it as MET_SHORT or MET_FLOAT.")
    order = ">" if _truth(path, fields, "BinaryDataByteOrderMSB", False) else "<"
    dtype = np.dtype(order + code)
    name = fields["ElementDataFile"]
    inside = name.upper() == "LOCAL"
    data = path if inside else beside(path, name)
    (skipped,) = integers(path, "HeaderSize", fields.get("HeaderSize", "0"), 1)
    if skipped < -1:
        raise damaged(path, "its 'HeaderSize' is below zero")
    if _truth(path, fields, "CompressedData", False):
        if skipped:
            raise unsupported(path, "its compressed voxels have a header of their own", "Save it again.")
        packed = None
        if "CompressedDataSize" in fields:
            (packed,) = integers(path, "CompressedDataSize", fields["CompressedDataSize"], 1)
        return StoredVoxels(data, path.name, dtype, count, start if inside else 0, "zlib", packed_size=packed or None)
    if skipped == -1:  # the voxels end the file
        skipped = max(0, data.stat().st_size - count * dtype.itemsize - (start if inside else 0))
    return StoredVoxels(data, path.name, dtype, count, (start if inside else 0) + skipped)


def _affine(path: Path, fields: dict[str, str]) -> tuple[np.ndarray, list[str]]:
    """(4, 4) index to LPS mm, and what the header does not state of it."""
    affine, missing = np.eye(4), []
    directions, spacing = np.eye(3), np.ones(3)
    if "TransformMatrix" in fields:
        values = numbers(path, "TransformMatrix", fields["TransformMatrix"])
        directions = np.array(check_finite(path, "TransformMatrix", values, 9)).reshape(3, 3).T  # an axis after another
        if np.abs(np.linalg.norm(directions, axis=0) - 1).max() > 1e-3:
            raise unsupported(
                path, "the axes in its TransformMatrix are not of length 1", "Convert it again from DICOM.", "geometry"
            )
    else:
        missing.append("the directions of its axes (TransformMatrix)")
    stated = next((key for key in ("ElementSpacing", "ElementSize") if key in fields), None)
    if stated:
        spacing = np.array(numbers(path, stated, fields[stated]))
        check_spacing(path, spacing)
        check_finite(path, stated, spacing, 3)
    else:
        missing.append("its spacing (ElementSpacing)")
    if "Offset" in fields:
        affine[:3, 3] = check_finite(path, "Offset", numbers(path, "Offset", fields["Offset"]), 3)
    else:
        missing.append("its origin (Offset)")
    affine[:3, :3] = directions * spacing
    return affine, missing


def _truth(path: Path, fields: dict[str, str], key: str, default: bool) -> bool:
    text = fields.get(key, str(default)).lower()
    if text in ("true", "t", "1", "yes"):
        return True
    if text in ("false", "f", "0", "no"):
        return False
    raise damaged(path, f"its line '{key}' is neither True nor False")
