"""The voxels of a volume file: exactly the bytes that its header declares, checked by the stream's own checksum."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...errors import InputError
from ...files.regular_file import open_regular

_WINDOW_BITS = {"gzip": 31, "zlib": 47}  # of zlib.decompressobj; a MetaImage's stream may have either frame
_GREATEST_RATIO = 1032
"""Deflate cannot pack more bytes into one."""
_PIECE = 1 << 20


@dataclass(frozen=True)
class StoredVoxels:
    """Where voxels lie.

    path: the file that holds them. name: the file that the user named. start: bytes of the file before them, or before
    their compressed stream. packing: raw, gzip or zlib. skipped: unpacked bytes before the first voxel, -1 of raw
    voxels that end the file. packed_size: bytes of the compressed stream where the header states them.
    """

    path: Path
    name: str
    dtype: np.dtype
    start: int = 0
    packing: str = "raw"
    skipped: int = 0
    packed_size: int | None = None


def read_voxels(stored: StoredVoxels, count: int) -> np.ndarray:
    """(count,) in this machine's byte order, writable.

    Raises InputError where the data are fewer or more than declared, or do not match their checksum.
    """
    with open_regular(stored.path) as stream:
        size = stream.seek(0, 2) - stored.start
        skipped = stored.skipped if stored.skipped >= 0 else max(0, size - count * stored.dtype.itemsize)
        declared = skipped + count * stored.dtype.itemsize
        stream.seek(stored.start)
        if stored.packing == "raw":
            _compare(stored, size, declared)
            unpacked = bytearray(declared)
            if stream.readinto(unpacked) != declared:
                raise _wrong(stored, "is cut short: it ended while it was read")
        else:
            if stored.packed_size is not None:
                _compare(stored, size, stored.packed_size)
            if declared > size * _GREATEST_RATIO:
                raise _wrong(stored, "is cut short: its voxels cannot be in so few bytes")
            unpacked = _inflate(stored, stream, declared)
    array = np.frombuffer(unpacked, stored.dtype, offset=skipped)
    if not array.flags.aligned:
        array = array.copy()
    return array if array.dtype.isnative else array.byteswap(inplace=True).view(array.dtype.newbyteorder("="))


def _inflate(stored: StoredVoxels, stream: BinaryIO, declared: int) -> bytearray:
    """Exactly the declared bytes; nothing beyond them is unpacked. gzip data may have several members."""
    unpacked, filled = bytearray(declared), 0
    inflater, packed = zlib.decompressobj(_WINDOW_BITS[stored.packing]), b""
    while True:
        packed = packed or stream.read(_PIECE)
        if inflater.eof:
            if not packed:
                break
            if stored.packing != "gzip" or not packed.startswith(b"\x1f\x8b"):
                raise _wrong(stored, "has data behind the end of its voxels")
            inflater = zlib.decompressobj(_WINDOW_BITS["gzip"])
        try:
            piece = inflater.decompress(packed, min(declared - filled, _PIECE) or 1)
        except zlib.error as error:
            raise _wrong(
                stored, f"is cut short or damaged: its compressed voxels fail their check ({error})"
            ) from error
        if filled + len(piece) > declared:
            raise _wrong(stored, f"holds more than the {declared} bytes of voxels that its header states")
        if not packed and not piece and not inflater.eof:
            raise _wrong(stored, "is cut short: its compressed voxels have no end")
        unpacked[filled : filled + len(piece)] = piece
        filled += len(piece)
        packed = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    _compare(stored, filled, declared)
    return unpacked


def _compare(stored: StoredVoxels, size: int, declared: int) -> None:
    if size < declared:
        raise _wrong(stored, f"is cut short: {declared - size} of {declared} bytes of voxels are missing")
    if size > declared:
        raise _wrong(stored, f"holds {size - declared} bytes more than the {declared} bytes that its header states")


def _wrong(stored: StoredVoxels, what: str) -> InputError:
    return InputError(f"{stored.name} {what}. Copy it again or convert it from DICOM.", "unreadable")
