"""What a volume file says of itself, read before ITK does.

ITK mends some broken headers and fills missing voxels with zeros without a word. A wrong scale or an empty half would
look like a healthy scan, so these files are refused here.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

from .errors import InputError

_HEADER_BYTES = 4096


def check_header(path: Path) -> None:
    """Raise InputError where the file is empty, cut short, or states a spacing of zero, below zero or not a number."""
    if path.stat().st_size == 0:
        raise InputError(f"{path.name} is empty. Copy it again.", "unreadable")
    start = _start(path)
    if start[:4] in (struct.pack("<i", 348), struct.pack(">i", 348)):
        spacing, missing = _nifti(path, start)
        if missing > 0:
            raise InputError(
                f"{path.name} is cut short: {missing} bytes of voxels are missing. Copy it again.", "unreadable"
            )
    else:
        spacing = _stated_spacing(start)
    if any(not math.isfinite(value) or value <= 0 for value in spacing):
        stated = " x ".join(f"{value:g}" for value in spacing)
        raise InputError(
            f"{path.name} states a voxel spacing of {stated} mm; every value must be above zero. "
            "Check the file's header, or convert again from DICOM.",
            "spacing",
        )


def contents_hint(path: Path) -> str:
    """Names the format that the first bytes show where the file name says another: the trace of a renamed file."""
    start = _start(path)
    for magic, suffixes, kind in (
        (b"NRRD", (".nrrd", ".nhdr"), "NRRD"),
        (b"ObjectType", (".mha", ".mhd"), "MetaImage"),
        (b"\x89PNG", (".png",), "PNG"),
        (struct.pack("<i", 348), (".nii", ".nii.gz", ".hdr"), "NIfTI"),
    ):
        if start.startswith(magic) and not path.name.lower().endswith(suffixes):
            return f" Its contents are {kind}: name it {path.stem}{suffixes[0]} and try again."
    return ""


def _start(path: Path) -> bytes:
    """The first bytes, decompressed. Reads gzip data to their end, since only there a cut shows."""
    with path.open("rb") as stream:
        start = stream.read(_HEADER_BYTES)
    if not start.startswith(b"\x1f\x8b"):
        return start
    try:
        with gzip.open(path) as stream:
            start = stream.read(_HEADER_BYTES)
            while stream.read(1 << 22):
                pass
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path.name} is cut short or damaged ({error}). Copy it again.", "unreadable") from error
    return start


def _nifti(path: Path, start: bytes) -> tuple[tuple[float, ...], int]:
    """Spacing in mm, and how many bytes an uncompressed NIfTI-1 file lacks."""
    order = "<" if start[:4] == struct.pack("<i", 348) else ">"
    if len(start) < 348:
        return (), 348 - len(start)
    size = struct.unpack(f"{order}8h", start[40:56])
    spacing = struct.unpack(f"{order}8f", start[76:108])[1 : 1 + min(size[0], 3)]
    bits = struct.unpack(f"{order}h", start[72:74])[0]
    offset = struct.unpack(f"{order}f", start[108:112])[0]
    single_file = start[344:347] == b"n+1" and not path.name.lower().endswith(".gz")
    expected = int(offset) + math.prod(size[1 : 1 + size[0]]) * bits // 8
    return spacing, (expected - path.stat().st_size if single_file else 0)


def _stated_spacing(start: bytes) -> tuple[float, ...]:
    """Spacing from the text header of NRRD or MetaImage; empty where another field (NRRD's directions) holds it."""
    for line in start.decode("latin-1").splitlines():
        key, _, value = line.replace("=", ":", 1).partition(":")
        if key.strip().lower() in ("spacings", "elementspacing"):
            try:
                return tuple(float(part) for part in value.split())
            except ValueError:
                return (math.nan,)
    return ()
