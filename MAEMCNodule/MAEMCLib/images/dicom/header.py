"""The header of one DICOM file as plain values, and whether a file is DICOM at all."""

import math
import os
import sys
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Literal

from ...errors import InputError
from ...files.regular_file import open_regular
from ...files.strict_json import number_of

TEXTS = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID", "FrameOfReferenceUID"),
    *("Modality", "ImageType", "PhotometricInterpretation", "RescaleType", "ConvolutionKernel"),
    "VolumeBasedCalculationTechnique",
)
NUMBERS = (
    *("Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "NumberOfFrames"),
    *("RescaleSlope", "RescaleIntercept", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "SliceThickness", "InstanceNumber", "AcquisitionNumber", "TemporalPositionIdentifier"),
    *("TemporalPositionIndex", "NominalPercentageOfCardiacPhase", "TriggerTime", "FrameAcquisitionNumber"),
)
DAMAGED = "\ufffd"
"""A text that cannot be decoded. A number that cannot be is NaN: neither passes a check or equals a sound value."""
_PIXELS = b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10"  # (7FE0,0010), little and big endian
_UNDEFINED = 0xFFFFFFFF
_PLAIN = {"DS", "IS", "CS", "UI", "LO", "SH"}
_BEGINNING = 1024
_LONGEST_VALUE = 1 << 16  # bytes; what is longer is skipped, and no tag that is used here comes near


class Header(dict):
    """Tags by keyword: a text, or a tuple of floats. Missing and empty ones are not in it.

    An eighth of the memory of pydicom's data sets, which counts for the 240,000 slices of LIDC-IDRI.
    ``pixel_bytes`` is the stated length of the pixel data: None where there is none, -1 where it is compressed.
    ``pixels_at`` is where they begin in the file, ``pixels_order`` the order of their bytes, and ``pixels_cut`` says
    that the file ends before them. ``syntax`` and ``media`` are the transfer syntax and the SOP class of the meta
    header, "" where none is stated.
    """

    pixel_bytes: int | None = None
    pixels_at: int = 0
    pixels_order: Literal["little", "big"] = "little"
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
            start = stream.read(_BEGINNING)
            complete = start[128:132] == b"DICM"
            if not complete and not _may_lack_preamble(start):
                return _none_of(start)
            stream.seek(0)
            names = (*TEXTS, *NUMBERS, *more)
            tags = list(_tags(names))
            data = pydicom.dcmread(
                stream, stop_before_pixels=True, specific_tags=tags, force=not complete, defer_size=_LONGEST_VALUE
            )
            header = Header(plain_values(data, names))
            meta = getattr(data, "file_meta", {})
            header.syntax = str(meta.get("TransferSyntaxUID", ""))
            header.media = str(meta.get("MediaStorageSOPClassUID", ""))
            _measure_pixels(header, stream)
    except OSError as error:
        denied = "it may not be read (permission denied)"
        raise InputError(denied if isinstance(error, PermissionError) else "it cannot be read", "unreadable") from error
    except Exception as error:  # a damaged file breaks pydicom in many places
        if not complete:
            return _none_of(start)
        raise InputError(f"it is damaged ({type(error).__name__})", "dicom-damaged") from error
    if not complete and not (header.text("SOPClassUID").startswith("1.2.840.10008.") and "SeriesInstanceUID" in header):
        if header.keys() & {"Modality", "SeriesInstanceUID"}:
            raise InputError("it has no preamble and is damaged", "dicom-damaged")
        return _none_of(start)
    if not (header.text("SOPClassUID") or header.media):
        raise InputError("it is damaged: it ends within its header", "dicom-damaged")
    return header


def plain_values(data: Any, names: tuple[str, ...]) -> dict[str, str | tuple[float, ...]]:
    """Tags of a pydicom data set as a ``Header`` holds them: NUMBERS as tuples of floats, all others as texts."""
    tags, values = _tags(names), {}
    for tag in data.keys() & tags.keys():  # a data set's iterator would understand every element
        try:
            parts = _parts(data, tag)
        except Exception:  # the value cannot be understood: pydicom raises what it pleases
            parts = [DAMAGED]
        if tags[tag] in NUMBERS:
            values[tags[tag]] = tuple(number_of(part) for part in parts)
        else:
            values[tags[tag]] = sys.intern("\\".join(str(part).strip(" \0") for part in parts))
    return {name: value for name, value in values.items() if value}


@cache
def _tags(names: tuple[str, ...]) -> dict[Any, str]:
    from pydicom.tag import Tag

    return {Tag(name): name for name in names}


def _parts(data: Any, tag: Any) -> list:
    """The values of an element. Plain ones are read here: pydicom takes three times as long for a header's."""
    raw = data.get_item(tag)
    value = raw.value
    if isinstance(value, bytes):
        if raw.VR in _PLAIN and value.isascii():
            text = value.decode("ascii").strip(" \0")
            return text.split("\\") if text else []
        if raw.VR == "US" and len(value) == 2:
            return [int.from_bytes(value, "little" if raw.is_little_endian else "big")]
        value = data[tag].value
    if value is None or (hasattr(value, "__len__") and len(value) == 0):
        return []
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]


def _may_lack_preamble(start: bytes) -> bool:
    """Whether a file may be a data set without preamble and "DICM": it then begins with a tag of group 2 or 8."""
    if len(start) < 12 or start[:2] not in (b"\x02\x00", b"\x08\x00", b"\x00\x08"):
        return False
    order = "big" if start[0] == 0 else "little"
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    return int.from_bytes(start[2:4], order) < 0x0100 and (explicit or int.from_bytes(start[4:8], order) < 1024)


def _none_of(start: bytes) -> None:
    """A file that is no DICOM; raises InputError where the UID of a DICOM class shows that it was one."""
    if b"1.2.840.10008." in start and b"\0" in start:
        raise InputError("it is damaged at its beginning", "dicom-damaged")


def _measure_pixels(header: Header, stream: BinaryIO) -> None:
    """Read the length of the pixel data, before which pydicom has stopped."""
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    if header.syntax == DeflatedExplicitVRLittleEndian:
        header.pixel_bytes = -1
        return
    start = stream.read(12)
    if start[:4] not in _PIXELS:
        return
    header.pixels_order = "little" if start[:4] == _PIXELS[0] else "big"
    explicit = start[4:6].isalpha()
    length = int.from_bytes(start[8:12] if explicit else start[4:8], header.pixels_order)
    header.pixels_at = stream.tell() - (0 if explicit else 4)
    header.pixel_bytes = -1 if length == _UNDEFINED else length
    header.pixels_cut = header.pixels_at + header.pixel_bytes > os.fstat(stream.fileno()).st_size
