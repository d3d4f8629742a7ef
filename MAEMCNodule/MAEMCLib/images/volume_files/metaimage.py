"""MetaImage headers, by the definition of the format (itk.org/Wiki/ITK/MetaIO/Documentation)."""

import re
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...files.regular_file import open_regular
from .header import Fields, StoredVoxels, VolumeHeader, check_size, check_spacing, damaged, lines, not_3d, unsupported

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
    if fields.get("ObjectType", "Image") != "Image":
        raise unsupported(path, "it holds no image", "Give the image.")
    size = fields.sizes("NDims", "DimSize", 10)
    channels = fields.integer("ElementNumberOfChannels", 1)
    if channels != 1:
        raise not_3d(path, f"{channels} values a voxel")
    _check_values(fields)
    return VolumeHeader(check_size(path, size), *_affine(fields), _stored(fields, start))


def _fields(path: Path, stream: BinaryIO) -> Fields:
    """Lines by their key, up to ElementDataFile, behind which voxels may follow at once."""
    fields = Fields(path)
    keys: set[str] = set()
    for line in lines(stream):
        text = line.strip()
        if not text:
            continue
        parts = re.fullmatch(r"([^=:]*[^=:\s])\s*[=:]\s*(.*)", text)
        fields.require(parts and "\0" not in text, "a line of its header is no 'Key = value'")
        key, value = _OTHER_NAMES.get(parts[1], parts[1]), parts[2]
        if key not in _KEYS:
            continue  # a remark, or a value that ITK took over from DICOM
        once = parts[1] not in keys and fields.get(key, value) == value  # two names of one thing may stand together
        fields.require(once, f"its header has the line '{key}' twice")
        keys.add(parts[1])
        fields[key] = value
        if key == "ElementDataFile":
            return fields
    raise damaged(path, "its header has no line 'ElementDataFile'")


def _check_values(fields: Fields) -> None:
    """Refuse what would change the meaning of a number: text instead of bytes, another unit, a scale."""
    path = fields.path
    if not _truth(fields, "BinaryData", True):
        raise unsupported(path, "its voxels are written as text", "Save it in binary.")
    if fields.get("DistanceUnits", "mm").lower() not in ("mm", "?", ""):
        raise unsupported(path, "it states its lengths in another unit than mm", "Save it in mm.", "geometry")
    for key, neutral in (("ElementToIntensityFunctionSlope", 1.0), ("ElementToIntensityFunctionOffset", 0.0)):
        if key in fields and fields.numbers(key) != [neutral]:
            raise unsupported(path, "it states a scale of its values, which readers ignore", "Save it in HU.", "not-ct")


def _stored(fields: Fields, start: int) -> StoredVoxels:
    """start: bytes of the header."""
    path, inside = fields.path, fields["ElementDataFile"].upper() == "LOCAL"
    code = _TYPES.get(fields["ElementType"])
    if code is None:
        raise unsupported(path, "its type of voxels is not one of real numbers", "Save it as MET_SHORT or MET_FLOAT.")
    dtype = np.dtype((">" if _truth(fields, "BinaryDataByteOrderMSB", False) else "<") + code)
    data, start = (path, start) if inside else (fields.beside("ElementDataFile"), 0)
    skipped = fields.integer("HeaderSize", 0)
    fields.require(skipped >= -1, "its 'HeaderSize' is below zero")
    if not _truth(fields, "CompressedData", False):
        return StoredVoxels(data, path.name, dtype, start, skipped=skipped)
    if skipped:
        raise unsupported(path, "its compressed voxels have a header of their own", "Save it again.")
    packed_size = fields.integer("CompressedDataSize", 0) or None
    return StoredVoxels(data, path.name, dtype, start, "zlib", packed_size=packed_size)


def _affine(fields: Fields) -> tuple[np.ndarray, list[str]]:
    """(4, 4) index to LPS mm, and what the header does not state of it."""
    affine, missing = np.eye(4), []
    if "TransformMatrix" in fields:
        affine[:3, :3] = np.reshape(fields.finite("TransformMatrix", 9), (3, 3)).T  # an axis after another
        if np.abs(np.linalg.norm(affine[:3, :3], axis=0) - 1).max() > 1e-3:
            what = "the axes in its TransformMatrix are not of length 1"
            raise unsupported(fields.path, what, "Convert it again from DICOM.", "geometry")
    else:
        missing.append("the directions of its axes (TransformMatrix)")
    stated = next((key for key in ("ElementSpacing", "ElementSize") if key in fields), None)
    if stated:
        check_spacing(fields.path, fields.numbers(stated))
        affine[:3, :3] *= fields.finite(stated, 3)
    else:
        missing.append("its spacing (ElementSpacing)")
    if "Offset" in fields:
        affine[:3, 3] = fields.finite("Offset", 3)
    else:
        missing.append("its origin (Offset)")
    return affine, missing


def _truth(fields: Fields, key: str, default: bool) -> bool:
    text = fields.get(key, str(default)).lower()
    if text in ("true", "t", "1", "yes"):
        return True
    if text in ("false", "f", "0", "no"):
        return False
    raise damaged(fields.path, f"its line '{key}' is neither True nor False")
