"""The header of one DICOM file as plain values, and whether a file is DICOM at all."""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from .errors import InputError
from .regular_file import open_regular

TEXTS = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID", "FrameOfReferenceUID"),
    *("Modality", "ImageType", "PhotometricInterpretation", "RescaleType", "ConvolutionKernel"),
    "VolumeBasedCalculationTechnique",
)
NUMBERS = (
    *("Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "NumberOfFrames"),
    *("RescaleSlope", "RescaleIntercept", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "SliceThickness", "InstanceNumber", "AcquisitionNumber", "TemporalPositionIdentifier"),
    *("TemporalPositionIndex", "NominalPercentageOfCardiacPhase", "TriggerTime"),
)
DAMAGED = "\ufffd"
"""A text that cannot be decoded. A number that cannot be is NaN: neither passes a check or equals a sound value."""
_PIXELS = b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10"  # (7FE0,0010), little and big endian
_UNDEFINED = 0xFFFFFFFF
_LONGEST_VALUE = 1 << 16  # bytes; what is longer is skipped, and no tag that is used here comes near


class Header(dict):
    """Tags by keyword: a text, or a tuple of floats. Missing and empty ones are not in it.

    An eighth of the memory of pydicom's data sets, which counts for the 240,000 slices of LIDC-IDRI.
    ``pixel_bytes`` is the stated length of the pixel data: None where there is none, -1 where it is compressed.
    ``pixels_cut`` says that the file ends before them. ``syntax`` and ``media`` are the transfer
    syntax and the SOP class of the meta header, "" where none is stated.
    """

    pixel_bytes: int | None = None
    pixels_cut: bool = False
    syntax: str = ""
    media: str = ""

    def text(self, name: str) -> str:
        """A text, "" where it is missing."""
        return self.get(name, "")

    def number(self, name: str) -> float:
        """A tag's only value; NaN where it is missing, damaged or one of several."""
        values = self.get(name, ())
        return values[0] if len(values) == 1 else math.nan


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, with or without preamble and meta header."""
    with open_regular(path) as stream:
        start = stream.read(132)
    if start[128:] == b"DICM":
        return True
    try:
        return _may_lack_preamble(start) and read_header(path) is not None
    except InputError:
        return False


def read_header(path: Path, more: Sequence[str] = ()) -> Header | None:
    """The tags that matter, and further texts by keyword; None where the file is not DICOM.

    Raises InputError, without the file's name, where it is DICOM and damaged or may not be read.
    """
    import pydicom

    complete = False
    try:
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom remarks on every sloppy header; what matters is checked
            start = stream.read(132)
            complete = start[128:] == b"DICM"
            if not complete and not _may_lack_preamble(start):
                return None
            stream.seek(0)
            data = pydicom.dcmread(
                stream,
                stop_before_pixels=True,
                specific_tags=[*TEXTS, *NUMBERS, *more],
                force=not complete,
                defer_size=_LONGEST_VALUE,
            )
            header = Header()
            take(header, data, (*TEXTS, *more), NUMBERS)
            meta = getattr(data, "file_meta", {})
            header.syntax = str(meta.get("TransferSyntaxUID", ""))
            header.media = str(meta.get("MediaStorageSOPClassUID", ""))
            _measure_pixels(header, stream)
    except OSError as error:
        denied = "it may not be read (permission denied)"
        raise InputError(denied if isinstance(error, PermissionError) else "it cannot be read", "unreadable") from error
    except Exception as error:  # a damaged file breaks pydicom in many places
        if not complete:
            return None
        raise InputError(f"it is damaged ({type(error).__name__})", "dicom-damaged") from error
    if not complete and not _is_plausible(header):
        return None
    if not (header.text("SOPClassUID") or header.media):
        raise InputError("it is damaged: it ends within its header", "dicom-damaged")
    return header


def take(header: Header, data: Any, texts: Iterable[str], numbers: Iterable[str]) -> None:
    """Put tags of a pydicom data set into a header, as plain values."""
    for name in texts:
        value = _value(data, name, DAMAGED)
        if value is not None:
            parts = value if isinstance(value, list) else [value]
            text = "\\".join(str(part).strip() for part in parts)
            if text:
                header[name] = sys.intern(text)
    for name in numbers:
        value = _value(data, name, math.nan)
        if value is not None:
            header[name] = tuple(_float(part) for part in (value if isinstance(value, list) else [value]))


def _value(data: Any, name: str, damaged: Any) -> Any:
    """A value or a list of values; None where it is missing or empty."""
    try:
        if name not in data:
            return None
        value = data[name].value
        if value is None or (hasattr(value, "__len__") and len(value) == 0):
            return None
        is_list = isinstance(value, Sequence) and not isinstance(value, str | bytes)
        return list(value) if is_list else value
    except Exception:  # the value cannot be understood: pydicom raises what it pleases
        return damaged


def _float(value: Any) -> float:
    try:
        return float(value) if not isinstance(value, bytes) else math.nan
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _may_lack_preamble(start: bytes) -> bool:
    """Whether a file may be a data set without preamble and "DICM": it then begins with a tag of group 2 or 8."""
    if len(start) < 12 or start[:2] not in (b"\x02\x00", b"\x08\x00", b"\x00\x08"):
        return False
    order = "big" if start[0] == 0 else "little"
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    return int.from_bytes(start[2:4], order) < 0x0100 and (explicit or int.from_bytes(start[4:8], order) < 1024)


def _is_plausible(header: Header) -> bool:
    return header.text("SOPClassUID").startswith("1.2.840.10008.") and "SeriesInstanceUID" in header


def _measure_pixels(header: Header, stream: BinaryIO) -> None:
    """Read the length of the pixel data, before which pydicom has stopped."""
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    if header.syntax == DeflatedExplicitVRLittleEndian:
        header.pixel_bytes = -1
        return
    start = stream.read(12)
    if start[:4] not in _PIXELS:
        return
    order = "little" if start[:4] == _PIXELS[0] else "big"
    explicit = start[4:6].isalpha()
    length = int.from_bytes(start[8:12] if explicit else start[4:8], order)
    if length == _UNDEFINED:
        header.pixel_bytes = -1
        return
    begin = stream.tell() - (0 if explicit else 4)
    header.pixel_bytes = length
    header.pixels_cut = begin + length > os.fstat(stream.fileno()).st_size
