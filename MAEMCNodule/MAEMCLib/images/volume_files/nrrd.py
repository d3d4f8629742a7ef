"""NRRD headers, by the definition of the format (teem.sourceforge.net/nrrd/format.html)."""

import math
import re
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...files.regular_file import open_regular
from .header import (
    Fields,
    StoredVoxels,
    VolumeHeader,
    check_finite,
    check_size,
    check_spacing,
    lines,
    not_3d,
    numbers,
    unsupported,
)

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
_FIELDS = {name.replace(" ", ""): name for name in (
    "dimension", "type", "blocksize", "encoding", "endian", "content", "old min", "old max", "data file",
    "line skip", "byte skip", "number", "sample units", "sizes", "spacings", "thicknesses", "axis mins",
    "axis maxs", "centers", "centerings", "labels", "units", "kinds", "min", "max", "space", "space dimension",
    "space units", "space origin", "space directions", "measurement frame",
)}
# fmt: on
_LONGEST_LINE = 4 << 20
_MILLIMETERS = ("mm", "millimeter", "millimeters", "", "???", "none")


def read_header(path: Path) -> VolumeHeader:
    """The header of a ``.nrrd`` or ``.nhdr`` file. Raises InputError, OSError."""
    with open_regular(path) as stream:
        fields = _fields(path, stream)
        start = stream.tell()
    return VolumeHeader(_size(fields), *_affine(fields), _stored(fields, start))


def _fields(path: Path, stream: BinaryIO) -> Fields:
    """Fields by name. The stream is left behind the empty line that ends the header."""
    fields = Fields(path)
    begins = re.fullmatch(rb"NRRD000[1-6]\r?\n", stream.readline(64))
    fields.require(begins, "its first line names no version of NRRD")
    for line in lines(stream):
        text = line.rstrip("\r\n")
        if not text:
            return fields
        if not line.endswith("\n") and "data file" not in fields:
            break
        if text.startswith("#"):
            continue
        key, _, value = text.partition(":")
        name = _FIELDS.get(key.replace(" ", "").lower())
        if value.startswith("=") or (name is None and ":=" in text):
            continue  # a key and value of somebody's own
        fields.require(name is not None, "a line of its header is no field of NRRD")
        fields.require(name not in fields, f"its header has the field '{name}' twice")
        fields[name] = value.strip()
        if name == "data file" and value.split()[:1] == ["LIST"]:
            fields.beside(name)  # refuses it; the names that follow are no fields
    fields.require("data file" in fields, "its header has no end")
    return fields


def _size(fields: Fields) -> tuple[int, int, int]:
    path, size = fields.path, fields.sizes("dimension", "sizes", 16)
    kinds = fields.get("kinds", "").split()
    fields.require(len(kinds) in (0, len(size)), "its field 'kinds' does not fit its dimension")
    for kind, count in zip(kinds, size, strict=False):
        if kind.lower() not in ("domain", "space", "???", "none"):
            values = f"{count} values a voxel" if count != 1 else "a further axis"
            what = values if kind.lower() != "time" else "a time axis"
            raise not_3d(path, f"{what} (an axis of the kind {kind[:32]})")
    return check_size(path, size)


def _stored(fields: Fields, start: int) -> StoredVoxels:
    """start: bytes of the header."""
    path, kind = fields.path, " ".join(fields["type"].lower().split())
    code = next((code for code, names in _TYPES.items() if kind in names), None)
    if code is None:
        raise unsupported(path, "its type of voxels is not one of real numbers", "Save it as short or float.")
    endian = fields.get("endian", "").lower()
    stated = endian in ("little", "big") or (not endian and code.endswith("1"))
    fields.require(stated, "its header does not state the byte order (endian)")
    encoding = fields["encoding"].lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise unsupported(path, "its encoding is neither raw nor gzip", "Save it again with one of these.")
    text_lines, skipped = fields.integer("line skip", 0), fields.integer("byte skip", 0)
    data, start = (fields.beside("data file"), 0) if "data file" in fields else (path, start)
    sound = text_lines >= 0 and skipped >= (-1 if encoding == "raw" else 0)
    fields.require(sound, "its 'line skip' or 'byte skip' is below zero")
    if text_lines:
        start = _behind_lines(fields, data, start, text_lines)
    dtype = np.dtype((">" if endian == "big" else "<") + code)
    return StoredVoxels(data, path.name, dtype, start, "raw" if encoding == "raw" else "gzip", skipped)


def _behind_lines(fields: Fields, data: Path, start: int, count: int) -> int:
    """The place behind so many further lines."""
    with open_regular(data) as stream:
        stream.seek(start)
        for _ in range(count):
            line = stream.readline(_LONGEST_LINE)
            fields.require(line.endswith(b"\n"), "it has fewer lines than its 'line skip' states")
        return stream.tell()


def _affine(fields: Fields) -> tuple[np.ndarray, list[str]]:
    """(4, 4) index to LPS mm, and what the header does not state of it."""
    path, flips = fields.path, _TO_LPS.get(fields.get("space", "lps").lower())
    if flips is None:
        raise unsupported(
            path,
            "its space does not say where the patient's left, back and head are",
            "Save it in left-posterior-superior, right-anterior-superior or left-anterior-superior.",
            "geometry",
        )
    both = "space" in fields and "space dimension" in fields
    fields.require(not both, "its header has both 'space' and 'space dimension'")
    for name in ("space units", "units"):
        text = fields.get(name, "")
        units = re.findall(r'"([^"]*)"', text) or text.split()
        if any(unit.strip().lower() not in _MILLIMETERS for unit in units):
            raise unsupported(path, "it states its lengths in another unit than mm", "Save it in mm.", "geometry")
    affine, missing = np.eye(4), [] if "space" in fields else ["its space"]
    directions, spacing = _vectors(fields, "space directions"), _spacings(fields)
    if directions:
        fields.require(len(directions) == 3, "its field 'space directions' does not hold 3 vectors")
        affine[:3, :3] = np.transpose([check_finite(path, "space directions", vector, 3) for vector in directions])
        check_spacing(path, np.linalg.norm(affine[:3, :3], axis=0))
        fields.require(not spacing, "its header has both 'space directions' and 'spacings'")
    else:
        missing.append("the directions of its axes" if spacing else "directions and spacing of its axes")
        affine[:3, :3] = np.diag(spacing or (1.0, 1.0, 1.0))
    origin = _vectors(fields, "space origin")
    if origin:
        affine[:3, 3] = check_finite(path, "space origin", [value for vector in origin for value in vector], 3)
    else:
        missing.append("its origin")
    return np.diag([*flips, 1.0]) @ affine, missing


def _spacings(fields: Fields) -> list[float]:
    """The spacings, empty where there are none; NaN stands for an axis without one."""
    if "spacings" not in fields:
        return []
    spacing = fields.numbers("spacings")
    if "space directions" in fields and all(math.isnan(value) for value in spacing):
        return []
    fields.require(len(spacing) == 3, "its field 'spacings' does not hold 3 numbers")
    check_spacing(fields.path, spacing)
    return spacing


def _vectors(fields: Fields, name: str) -> list[list[float]]:
    """``(1,0,0) (0,1,0) (0,0,1)`` as lists; none where there is no such field."""
    text = fields.get(name, "")
    rest = re.sub(r"\([^()]*\)", "", text).strip()
    fields.require(not rest, f"its field '{name}' does not hold vectors alone")
    return [numbers(fields.path, name, vector) for vector in re.findall(r"\(([^()]*)\)", text)]
