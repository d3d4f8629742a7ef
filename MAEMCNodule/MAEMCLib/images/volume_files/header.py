"""What the headers of all formats have in common: the facts that are needed, how their texts and names are read, and
the voxels behind them: exactly the bytes that a header declares, checked by the stream's own checksum."""

import math
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

import numpy as np

from ...errors import InputError
from ...files.regular_file import open_regular
from ..ct import ReadingRemark

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


LONGEST_HEADER = 4 << 20
LONGEST_AXIS = 1 << 15
MOST_VOXELS = 1 << 31
"""2048 slices of 1024 x 1024; a header that states more is damaged."""
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(nan|inf(inity)?)", re.ASCII | re.IGNORECASE)
_INTEGER = re.compile(r"[-+]?\d{1,15}", re.ASCII)


@dataclass(frozen=True)
class VolumeHeader:
    """size: voxels along i, j, k. affine: (4, 4) index (i, j, k) to LPS mm. missing: what the header does not state of
    it, in words. HU = slope * stored value + intercept."""

    size: tuple[int, int, int]
    affine: np.ndarray
    missing: Sequence[str]
    stored: StoredVoxels
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def remarks(self) -> tuple[ReadingRemark, ...]:
        """The remark on what the header leaves open about the volume's place; none where it states all."""
        if not self.missing:
            return ()
        text = (
            f"The file does not state {' and '.join(self.missing)}: it is read as if its axes ran to the patient's "
            "left, back and head, from 0, in steps of 1 mm where none are given. Left and right may be exchanged, "
            "and the point may lie elsewhere."
        )
        return (ReadingRemark("no-geometry", text),)

    def voxels(self) -> np.ndarray:
        """(k, j, i) in HU, in this machine's byte order. Raises InputError: damaged, cut short, data behind the last
        voxel; OSError where the file cannot be opened."""
        array = read_voxels(self.stored, math.prod(self.size)).reshape(self.size[::-1])
        if (self.slope, self.intercept) == (1.0, 0.0):
            return array
        scaled = np.empty(array.shape, np.float64 if array.dtype == np.float64 else np.float32)
        for target, source in zip(scaled, array, strict=True):
            target[...] = source.astype(np.float64) * self.slope + self.intercept
        return scaled


class Fields(dict[str, str]):
    """The texts of a header's fields by name, and what they have to be. path: the header, for messages.

    Reading a field that is missing raises InputError, as reading one that holds something else does.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def __missing__(self, name: str) -> str:
        raise damaged(self.path, f"its header has no field '{name}'")

    def require(self, sound: object, what: str) -> None:
        """Raise InputError for a header that contradicts its format, unless it is sound. what: a clause."""
        require(self.path, sound, what)

    def numbers(self, name: str) -> list[float]:
        """Any numbers, NaN and infinity too."""
        return numbers(self.path, name, self[name])

    def finite(self, name: str, count: int) -> list[float]:
        """So many finite numbers, of the geometry."""
        return check_finite(self.path, name, self.numbers(name), count)

    def integers(self, name: str, count: int) -> list[int]:
        """So many whole numbers."""
        parts = self[name].split()
        whole = len(parts) == count and all(_INTEGER.fullmatch(part) for part in parts)
        self.require(whole, f"its field '{name}' does not hold {count} whole numbers")
        return [int(part) for part in parts]

    def integer(self, name: str, default: int | None = None) -> int:
        """One whole number; the default where there is no such field."""
        return default if default is not None and name not in self else self.integers(name, 1)[0]

    def sizes(self, dimension: str, sizes: str, most: int) -> list[int]:
        """The sizes along all dimensions, of which there are at most so many. Each argument names a field."""
        count = self.integer(dimension)
        self.require(1 <= count <= most, f"it states {count} dimensions")
        return self.integers(sizes, count)

    def beside(self, field: str) -> Path:
        """The data file that a field names, which has to lie in the header's folder or below it."""
        path, name = self.path, self[field]
        if Path(name).is_absolute() and Path(name).parent == path.absolute().parent:
            name = Path(name).name
        parts = PurePosixPath(name).parts
        if "%" in name or re.search(r"\s\d+\s+\d+\s+\d+$", name) or name.split()[:1] == ["LIST"]:
            raise unsupported(path, "its voxels are spread over several files", "Save it as one file.")
        if not parts or "\0" in name or "\\" in name or ".." in parts or PureWindowsPath(name).anchor or name[0] == "/":
            raise unsupported(
                path,
                "the data file that it names does not lie beside it",
                "Put both files into one folder and correct the name in the header.",
            )
        data = path.parent / name
        if not data.exists():
            raise InputError(
                f"{path.name} cannot be read: the file with its voxels, {data.name}, is not beside it. Copy both "
                "files.",
                "missing-file",
                (data.name,),
            )
        return data


def lines(stream: BinaryIO) -> Iterator[str]:
    """The lines of a header of text, as far as a header may reach."""
    while line := stream.readline(LONGEST_HEADER - stream.tell()):
        yield line.decode("utf-8", "surrogateescape")


def beginning(path: Path) -> tuple[bytes, bool]:
    """The first bytes of a file, unpacked, and whether the file is gzip as a whole. Raises InputError, OSError."""
    with open_regular(path) as stream:
        start = stream.read(4096)
    packed = start.startswith(b"\x1f\x8b")
    try:
        return (zlib.decompressobj(31).decompress(start, 4096) if packed else start), packed
    except zlib.error as error:
        raise damaged(path, f"its compressed beginning is damaged ({error})") from error


def damaged(path: Path, what: str) -> InputError:
    """The error for a header that contradicts its format. what: a clause on the fault."""
    return InputError(
        f"{path.name} cannot be read: {what}. The file may be damaged or cut short; copy it again or convert it from "
        "DICOM.",
        "unreadable",
    )


def require(path: Path, sound: object, what: str) -> None:
    """Raise ``damaged``, unless it is sound."""
    if not sound:
        raise damaged(path, what)


def unsupported(path: Path, what: str, remedy: str, code: str = "unreadable") -> InputError:
    """The error for what a format allows and MAEMC does not read."""
    return InputError(f"{path.name} cannot be used: {what}. {remedy}", code)


def not_3d(path: Path, what: str) -> InputError:
    """The error for another kind of image than one volume."""
    return InputError(f"{path.name} has {what}; a CT volume has 3 dimensions and one value a voxel.", "not-3d")


def numbers(path: Path, field: str, text: str) -> list[float]:
    """The numbers of a field, NaN and infinity too. Raises InputError for anything else."""
    parts = text.replace(",", " ").split()
    require(path, parts and all(map(_NUMBER.fullmatch, parts)), f"its field '{field}' holds no numbers")
    return [float(part) for part in parts]


def check_size(path: Path, size: Sequence[int]) -> tuple[int, int, int]:
    """The size, where it can be that of a volume. Raises InputError."""
    if len(size) != 3:
        raise not_3d(path, f"{len(size)} dimensions")
    if any(not 0 < n <= LONGEST_AXIS for n in size) or math.prod(size) > MOST_VOXELS:
        raise damaged(path, f"it states a size of {' x '.join(map(str, size))} voxels, which no CT has")
    return tuple(size)


def check_spacing(path: Path, spacing: Sequence[float]) -> None:
    """Raise InputError where a stated spacing is zero, below zero or not a number."""
    if any(not math.isfinite(value) or value <= 0 for value in spacing):
        stated = " x ".join(f"{value:g}" for value in spacing)
        raise InputError(
            f"{path.name} states a voxel spacing of {stated} mm; every value must be above zero. "
            "Check the file's header, or convert again from DICOM.",
            "spacing",
        )


def check_finite(path: Path, field: str, values: Sequence[float], count: int) -> list[float]:
    """The values of a field of the geometry. Raises InputError for another count, NaN or infinity."""
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise InputError(
            f"{path.name} cannot be placed in the patient: its field '{field}' does not hold {count} finite numbers. "
            "Check the file's header, or convert again from DICOM.",
            "geometry",
        )
    return list(values)
