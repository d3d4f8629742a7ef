"""NIfTI-1 and NIfTI-2 headers (nifti.nimh.nih.gov), in one file with the voxels or in a pair ``.hdr`` and ``.img``.

Where a volume lies is stated up to three times: by the sform, by the qform, and in part by the voxel sizes in pixdim.
"""

import itertools
import math
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...errors import InputError
from .header import (
    StoredVoxels,
    VolumeHeader,
    beginning,
    check_finite,
    check_size,
    check_spacing,
    not_3d,
    require,
    unsupported,
)

TOLERANCE_MM = 0.5
_SIZES = 348, 540
"""Bytes of the header of NIfTI-1 and NIfTI-2."""
_LAYOUT = {  # where the fields that matter lie in each of the two, with their struct formats
    "magic": ((344, "4s"), (4, "8s")),
    "datatype": ((70, "h"), (12, "h")),
    "bitpix": ((72, "h"), (14, "h")),
    "dim": ((40, "8h"), (16, "8q")),
    "pixdim": ((76, "8f"), (104, "8d")),
    "vox_offset": ((108, "f"), (168, "q")),
    "scale": ((112, "2f"), (176, "2d")),
    "qform_code": ((252, "h"), (344, "i")),
    "sform_code": ((254, "h"), (348, "i")),
    "quatern": ((256, "3f"), (352, "3d")),
    "qoffset": ((268, "3f"), (376, "3d")),
    "srow": ((280, "12f"), (400, "12d")),
    "xyzt_units": ((123, "b"), (500, "i")),
}
# fmt: off
_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
# fmt: on
_SINGLE, _PAIR = (b"n+1\0", b"n+2\0\r\n\x1a\n"), (b"ni1\0", b"ni2\0\r\n\x1a\n")
_MILLIMETERS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}


def begins(start: bytes) -> bool:
    """Whether a file begins as NIfTI headers do."""
    return _byte_order(start) is not None


def _byte_order(start: bytes) -> str | None:
    """In which byte order a header begins with its own size; None where it does in neither."""
    return next((order for order in "<>" if start[:4] in [struct.pack(order + "i", size) for size in _SIZES]), None)


def read_header(path: Path, form: str | None = None) -> VolumeHeader:
    """The header of a NIfTI file. form: ``sform`` or ``qform`` where the two disagree. Raises InputError, OSError."""
    path = _partner(path, ".img", ".hdr") if _bare(path).endswith(".img") else path
    start, packed = beginning(path)
    order = _byte_order(start)
    require(path, order, "its header does not begin with its own size")
    (length,) = struct.unpack(order + "i", start[:4])
    require(path, len(start) >= length, "it is cut short within its header")
    values = {}
    for name, layouts in _LAYOUT.items():
        offset, format = layouts[_SIZES.index(length)]
        values[name] = struct.unpack_from(order + format, start, offset)
    if values["magic"][0] not in (*_SINGLE, *_PAIR):
        raise unsupported(
            path,
            "it is no NIfTI but perhaps Analyze 7.5, which does not say where left and right are",
            "Convert it again from DICOM, to NIfTI or NRRD.",
            "geometry",
        )
    size = _size(path, values["dim"])
    affine, missing = _affine(path, values, size, form)
    return VolumeHeader(
        size, affine, missing, _stored(path, values, order, length, packed), *_scale(path, *values["scale"])
    )


def _bare(path: Path) -> str:
    return path.name.lower().removesuffix(".gz")


def _partner(path: Path, mine: str, other: str) -> Path:
    """The other file of a pair, compressed as this one is, or else the other way."""
    at = _bare(path).rindex(mine)
    stem, suffix = path.name[:at], path.name[at:]
    other = other.upper() if suffix[1:].isupper() else other
    names = [stem + other + suffix[len(mine) :], *(stem + other + end for end in ("", ".gz"))]
    for name in names:
        if path.with_name(name).exists():
            return path.with_name(name)
    raise InputError(
        f"{path.name} cannot be read: the other file of the pair, {names[0]}, is not beside it. Copy both files.",
        "missing-file",
        (names[0],),
    )


def _size(path: Path, dim: tuple[int, ...]) -> tuple[int, int, int]:
    require(path, 1 <= dim[0] <= 7, f"it states {dim[0]} dimensions")
    stated = " x ".join(map(str, dim[1 : dim[0] + 1]))
    require(path, min(dim[1 : dim[0] + 1]) >= 1, f"it states a size of {stated} voxels")
    if dim[0] < 3 or any(n != 1 for n in dim[4 : dim[0] + 1]):
        raise not_3d(path, f"{dim[0]} dimensions ({stated})")
    return check_size(path, dim[1:4])


def _stored(path: Path, values: Mapping[str, tuple], order: str, header: int, packed: bool) -> StoredVoxels:
    """header: its bytes. packed: whether the file is gzip."""
    code = _TYPES.get(values["datatype"][0])
    if code is None:
        raise not_3d(path, "voxels that are no real numbers (colors, complex or bits)")
    dtype = np.dtype(order + code)
    bits, offset = values["bitpix"][0], values["vox_offset"][0]
    require(path, bits == 8 * dtype.itemsize, f"it states {bits} bits for voxels of {8 * dtype.itemsize}")
    whole = math.isfinite(offset) and offset == int(offset) and offset >= 0
    require(path, whole, f"it states that its voxels begin at byte {offset:g}")
    offset = int(offset)
    data = path
    if values["magic"][0] in _PAIR:
        data = _partner(path, ".hdr", ".img") if _bare(path).endswith(".hdr") else path
        _, packed = beginning(data)
    else:
        behind = offset >= header + 4
        require(path, behind, f"it states that its voxels begin at byte {offset}, within its header")
    if packed:
        return StoredVoxels(data, path.name, dtype, 0, "gzip", offset)
    return StoredVoxels(data, path.name, dtype, offset)


def _scale(path: Path, slope: float, intercept: float) -> tuple[float, float]:
    """HU = slope * value + intercept. A slope of 0, and NaN for both, stand for no scale."""
    if slope == 0 or (math.isnan(slope) and (intercept == 0 or math.isnan(intercept))):
        return 1.0, 0.0
    finite = math.isfinite(slope) and math.isfinite(intercept)
    require(path, finite, f"it states the scale {slope:g} * value + {intercept:g}")
    return slope, intercept


def _affine(
    path: Path, values: Mapping[str, tuple], size: tuple[int, int, int], form: str | None
) -> tuple[np.ndarray, list[str]]:
    """(4, 4) index to LPS mm, and what the header does not state of it."""
    unit = _MILLIMETERS.get(values["xyzt_units"][0] & 7)
    require(path, unit, "it states its lengths in an unknown unit")
    codes = {name: values[f"{name}_code"][0] for name in ("sform", "qform")}
    if form is not None and codes[form] <= 0:
        raise InputError(f"{path.name} has no {form}. Leave --nifti-form out, or choose the other one.", "geometry")
    if form != "sform":
        check_spacing(path, values["pixdim"][1:4])
    chosen = form or next((name for name, code in codes.items() if code > 0), None)
    if chosen is None:
        affine = np.diag([*values["pixdim"][1:4], 1.0])
        return np.diag([unit, unit, unit, 1.0]) @ affine, ["where it lies in the patient (neither sform nor qform)"]
    ras = {"sform": _sform, "qform": _qform}[chosen](path, values)
    if form is None:
        if codes["sform"] > 0 and codes["qform"] > 0:
            _compare(path, size, ras * unit, _qform(path, values) * unit)
        elif chosen == "sform":
            _compare_spacing(path, size, ras * unit, np.array(values["pixdim"][1:4]) * unit)
    return np.diag([-unit, -unit, unit, 1.0]) @ ras, []


def _sform(path: Path, values: Mapping[str, tuple]) -> np.ndarray:
    affine = np.eye(4)
    affine[:3] = np.reshape(check_finite(path, "srow (sform)", values["srow"], 12), (3, 4))
    check_spacing(path, np.linalg.norm(affine[:3, :3], axis=0))
    return affine


def _qform(path: Path, values: Mapping[str, tuple]) -> np.ndarray:
    """The definition of the format: quaternion (a, b, c, d) with a >= 0, and pixdim[0] for the third axis's sign."""
    b, c, d = check_finite(path, "quatern (qform)", values["quatern"], 3)
    origin = check_finite(path, "qoffset (qform)", values["qoffset"], 3)
    check_spacing(path, values["pixdim"][1:4])
    rest = 1.0 - (b * b + c * c + d * d)
    sign = values["pixdim"][0]
    require(path, rest >= -1e-3 and math.isfinite(sign), "its qform is no rotation")
    if rest < 1e-7:
        b, c, d = np.array([b, c, d]) / math.sqrt(b * b + c * c + d * d)
        rest = 0.0
    a, axis = math.sqrt(rest), np.array([b, c, d])
    rotation = (a * a - axis @ axis) * np.eye(3) + 2 * np.outer(axis, axis) + 2 * a * np.cross(np.eye(3), axis)
    affine = np.eye(4)
    affine[:3, :3] = rotation * values["pixdim"][1:4]
    affine[:3, 2] *= -1.0 if sign < 0 else 1.0
    affine[:3, 3] = origin
    return affine


def _compare(path: Path, size: tuple[int, int, int], sform: np.ndarray, qform: np.ndarray) -> None:
    """Raise InputError where the two forms put a corner of the volume to different places."""
    corners = np.array(list(itertools.product(*((0, n - 1) for n in size))))
    apart = corners @ (sform - qform)[:3, :3].T + (sform - qform)[:3, 3]
    most = float(np.linalg.norm(apart, axis=1).max())
    if most > TOLERANCE_MM:
        raise InputError(
            f"{path.name} states two places in the patient, its sform and its qform, up to {most:.1f} mm apart (voxel "
            f"spacing {_lengths(sform)} and {_lengths(qform)} mm). Choose the right one with --nifti-form sform or "
            "--nifti-form qform, or convert the file again from DICOM.",
            "geometry",
        )


def _compare_spacing(path: Path, size: tuple[int, int, int], sform: np.ndarray, pixdim: np.ndarray) -> None:
    """Raise InputError where pixdim and sform disagree on how large a voxel is. Of a sheared sform (gantry tilt) pixdim
    may be the step along an axis or the distance between its planes."""
    matrix = sform[:3, :3]
    steps = np.linalg.norm(matrix, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        distances = 1.0 / np.linalg.norm(np.linalg.pinv(matrix), axis=1)
    off = np.minimum(np.abs(pixdim - steps), np.abs(pixdim - distances)) * (np.array(size) - 1)
    most = float(np.linalg.norm(off))
    if most > TOLERANCE_MM:
        raise InputError(
            f"{path.name} states two voxel spacings, {_lengths(sform)} mm in its sform and "
            f"{' x '.join(f'{value:.4g}' for value in pixdim)} mm in pixdim, so that its far end lies {most:.1f} mm "
            "apart. If the sform is right, add --nifti-form sform; else convert the file again from DICOM.",
            "geometry",
        )


def _lengths(affine: np.ndarray) -> str:
    return " x ".join(f"{value:.4g}" for value in np.linalg.norm(affine[:3, :3], axis=0))
