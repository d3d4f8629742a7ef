"""NRRD headers, by the definition of the format (teem.sourceforge.net/nrrd/format.html)."""

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
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_TO_LPS = {
    **dict.fromkeys(("left-posterior-superior", "lps"), (1.0, 1.0, 1.0)),
    **dict.fromkeys(("right-anterior-superior", "ras"), (-1.0, -1.0, 1.0)),
    **dict.fromkeys(("left-anterior-superior", "las"), (1.0, -1.0, 1.0)),
}
# fmt: off
_FIELDS = {
    "dimension", "type", "blocksize", "encoding", "endian", "content", "oldmin", "oldmax", "datafile",
    "lineskip", "byteskip", "number", "sampleunits", "sizes", "spacings", "thicknesses", "axismins",
    "axismaxs", "centers", "centerings", "labels", "units", "kinds", "min", "max", "space", "spacedimension",
    "spaceunits", "spaceorigin", "spacedirections", "measurementframe",
}
# fmt: on
_MILLIMETERS = ("mm", "millimeter", "millimeters", "", "???", "none")


def read_header(path: Path) -> VolumeHeader:
    """The header of a ``.nrrd`` or ``.nhdr`` file. Raises InputError, OSError."""
    with open_regular(path) as stream:
        fields = _fields(path, stream)
        start = stream.tell()
    for needed in ("dimension", "type", "encoding", "sizes"):
        if needed not in fields:
            raise damaged(path, f"its header has no field '{needed}'")
    size = _size(path, fields)
    affine, missing = _affine(path, fields)
    stored = _stored(path, fields, math.prod(size), start)
    return VolumeHeader(size, affine, stored, unstated(missing))


def _fields(path: Path, stream: BinaryIO) -> dict[str, str]:
    """Fields by name, without spaces in it. The stream is left behind the empty line that ends the header."""
    fields: dict[str, str] = {}
    if not re.fullmatch(rb"NRRD000[1-6]\r?\n", stream.readline(64)):
        raise damaged(path, "its first line names no version of NRRD")
    while line := stream.readline(LONGEST_HEADER - stream.tell()):
        text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
        if not text:
            return fields
        if not line.endswith(b"\n") and "datafile" not in fields:
            break
        if text.startswith("#"):
            continue
        field, _, value = text.partition(":")
        field = field.replace(" ", "").lower()
        if value.startswith("=") or (field not in _FIELDS and ":=" in text):
            continue  # a key and value of somebody's own
        if field not in _FIELDS:
            raise damaged(path, "a line of its header is no field of NRRD")
        if field in fields:
            raise damaged(path, f"its header has the field '{field}' twice")
        fields[field] = value.strip()
        if field == "datafile" and value.split()[:1] == ["LIST"]:
            beside(path, value.strip())  # refuses it; the names that follow are no fields
    if "datafile" not in fields:
        raise damaged(path, "its header has no end")
    return fields


def _size(path: Path, fields: dict[str, str]) -> tuple[int, int, int]:
    (dimension,) = integers(path, "dimension", fields["dimension"], 1)
    if not 1 <= dimension <= 16:
        raise damaged(path, f"it states {dimension} dimensions")
    size = integers(path, "sizes", fields["sizes"], dimension)
    kinds = fields.get("kinds", "").split()
    if kinds and len(kinds) != dimension:
        raise damaged(path, "its field 'kinds' does not fit its dimension")
    for kind, count in zip(kinds, size, strict=False):
        if kind.lower() not in ("domain", "space", "???", "none"):
            values = f"{count} values a voxel" if count != 1 else "a further axis"
            what = values if kind.lower() != "time" else "a time axis"
            raise not_3d(path, f"{what} (an axis of the kind {kind[:32]})")
    if dimension != 3:
        raise not_3d(path, f"{dimension} dimensions")
    return check_size(path, size)


def _stored(path: Path, fields: dict[str, str], count: int, start: int) -> StoredVoxels:
    kind = " ".join(fields["type"].lower().split())
    code = next((code for code, names in _TYPES.items() if kind in names), None)
    if code is None:
        raise unsupported(path, "its type of voxels is not one of real numbers", "Save it as short or float.")
    dtype = np.dtype(f"<{code}")
    endian = fields.get("endian", "").lower()
    if endian not in ("little", "big") and (endian or dtype.itemsize > 1):
        raise damaged(path, "its header does not state the byte order (endian)")
    dtype = dtype.newbyteorder(">" if endian == "big" else "<")
    encoding = fields["encoding"].lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise unsupported(path, "its encoding is neither raw nor gzip", "Save it again with one of these.")
    (lines,) = integers(path, "line skip", fields.get("lineskip", "0"), 1)
    (skipped,) = integers(path, "byte skip", fields.get("byteskip", "0"), 1)
    data = beside(path, fields["datafile"]) if "datafile" in fields else path
    if lines < 0 or skipped < -1 or (skipped == -1 and encoding != "raw"):
        raise damaged(path, "its 'line skip' or 'byte skip' is below zero")
    start = _behind_lines(path, data, 0 if "datafile" in fields else start, lines)
    if encoding != "raw":
        return StoredVoxels(data, path.name, dtype, count, start, "gzip", skipped)
    if skipped == -1:  # the voxels end the file
        start = max(start, data.stat().st_size - count * dtype.itemsize)
    return StoredVoxels(data, path.name, dtype, count, start + max(skipped, 0))


def _behind_lines(path: Path, data: Path, start: int, lines: int) -> int:
    """The place behind so many further lines."""
    if lines == 0:
        return start
    with open_regular(data) as stream:
        stream.seek(start)
        for _ in range(lines):
            if not stream.readline(LONGEST_HEADER).endswith(b"\n"):
                raise damaged(path, "it has fewer lines than its 'line skip' states")
        return stream.tell()


def _affine(path: Path, fields: dict[str, str]) -> tuple[np.ndarray, list[str]]:
    """(4, 4) index to LPS mm, and what the header does not state of it."""
    space = fields.get("space", "").lower()
    if "space" in fields and space not in _TO_LPS:
        raise unsupported(
            path,
            "its space does not say where the patient's left, back and head are",
            "Save it in left-posterior-superior, right-anterior-superior or left-anterior-superior.",
            "geometry",
        )
    if "space" in fields and "spacedimension" in fields:
        raise damaged(path, "its header has both 'space' and 'space dimension'")
    affine, missing = np.eye(4), [] if space else ["its space"]
    _check_units(path, fields)
    directions = _vectors(path, "space directions", fields.get("spacedirections", ""))
    spacing = _spacings(path, fields)
    if directions:
        if len(directions) != 3:
            raise damaged(path, "its field 'space directions' does not hold 3 vectors")
        for axis, vector in enumerate(directions):
            affine[:3, axis] = check_finite(path, "space directions", vector, 3)
        check_spacing(path, np.linalg.norm(affine[:3, :3], axis=0))
        if spacing:
            raise damaged(path, "its header has both 'space directions' and 'spacings'")
    else:
        missing.append("the directions of its axes" if spacing else "directions and spacing of its axes")
        affine[:3, :3] = np.diag(spacing or (1.0, 1.0, 1.0))
    origin = _vectors(path, "space origin", fields.get("spaceorigin", ""))
    if origin:
        affine[:3, 3] = check_finite(path, "space origin", origin[0], 3) if len(origin) == 1 else [math.nan] * 3
    else:
        missing.append("its origin")
    return np.diag([*_TO_LPS.get(space, (1.0, 1.0, 1.0)), 1.0]) @ affine, missing


def _spacings(path: Path, fields: dict[str, str]) -> list[float]:
    """The spacings, empty where there are none; NaN stands for an axis without one."""
    if "spacings" not in fields:
        return []
    spacing = numbers(path, "spacings", fields["spacings"])
    if "spacedirections" in fields and all(math.isnan(value) for value in spacing):
        return []
    if len(spacing) != 3:
        raise damaged(path, "its field 'spacings' does not hold 3 numbers")
    check_spacing(path, spacing)
    return spacing


def _vectors(path: Path, field: str, text: str) -> list[list[float]]:
    """``(1,0,0) (0,1,0) (0,0,1)`` as lists."""
    if re.sub(r"\([^()]*\)", "", text).strip():
        raise damaged(path, f"its field '{field}' does not hold vectors alone")
    return [numbers(path, field, vector) for vector in re.findall(r"\(([^()]*)\)", text)]


def _check_units(path: Path, fields: dict[str, str]) -> None:
    for field in ("spaceunits", "units"):
        text = fields.get(field, "")
        units = re.findall(r'"([^"]*)"', text) or text.split()
        if any(unit.strip().lower() not in _MILLIMETERS for unit in units):
            raise unsupported(path, "it states its lengths in another unit than mm", "Save it in mm.", "geometry")
