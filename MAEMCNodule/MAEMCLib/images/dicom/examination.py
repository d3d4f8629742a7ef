"""Whose a DICOM image is and when it was made, as hashes and a count of days."""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path

from ...errors import InputError
from ..examination import Examination
from .header import DAMAGED, Header, read_header
from .image import Slice

_DATES = ("AcquisitionDate", "AcquisitionDateTime", "StudyDate")
"""The first that is a date counts: that of the acquisition may be missing."""


def examination_of(image: Slice) -> Examination:
    """Of any image of a stack: all of its images have one patient and one frame of reference.

    The dates are read again from the file: what is kept of every header is compared between copies of an image, and
    archives correct dates.
    """
    try:
        header = read_header(image.path, _DATES) or Header()
    except InputError:  # it was read before: it has just gone, and reading its voxels will say so
        header = Header()
    return _examination(image.header, header)


def read_examination(path: Path) -> Examination:
    """Of a volume that another program has read from DICOM, by any of its files; an empty one where the file is no
    DICOM, or cannot be read."""
    try:
        header = read_header(path, _DATES) or Header()
    except InputError:
        header = Header()
    return _examination(header, header)


def _examination(named: Header, dated: Header) -> Examination:
    days = (_day(dated.text(name)) for name in _DATES)
    return Examination(
        _hash(named.text("PatientID")),
        _hash(named.text("FrameOfReferenceUID")),
        next((day for day in days if day is not None), None),
    )


def _hash(text: str) -> str:
    return "" if not text or DAMAGED in text else hashlib.sha256(text.encode()).hexdigest()


def _day(text: str) -> int | None:
    """``20260131`` or ``20260131120000`` as a number of days; None where it is no date."""
    digits = text[:8]
    try:
        if len(digits) < 8 or not (digits.isascii() and digits.isdigit()):
            return None
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).toordinal()
    except ValueError:
        return None
