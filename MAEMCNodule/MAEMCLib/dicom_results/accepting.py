"""A reader accepts a report: a new instance that names the reader and refers to the one before, which stays."""

from __future__ import annotations

import copy
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, UsageError, input_error
from ..files.atomic import replacing
from . import codes

if TYPE_CHECKING:
    from pydicom import Dataset

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
_LONGEST = 64
_UNDEFINED = 0xFFFFFFFF
_OBSERVATION_CONTEXT = "HAS OBS CONTEXT"


def accept(report: Path, observer: str, organization: str) -> Path:
    """Write the verified version of a report beside it (``report-accepted.dcm`` for ``report.dcm``); returns its path.

    observer: the reader's name, in DICOM's form (``Family^Given``) or as people write it. organization: the reader's.
    The new instance is of the same series, VERIFIED and FINAL, has the reader among its observers (TID 1003) and the
    report as its predecessor (PS3.3 C.17.2).
    Raises UsageError for a name or organization that is empty or cannot be written; InputError where the report cannot
    be read, is none that MAEMC wrote, is accepted already, or the folder cannot be written.
    """
    observer, organization = _said("name", observer), _said("organization", organization)
    target = report.with_name(f"{report.stem}-accepted.dcm")
    before = _read(report)
    if before.VerificationFlag == "VERIFIED" or target.exists():
        raise InputError(f"{report.name} was accepted already. Nothing was changed.", "accepted-already").hide(report)
    accepted = accepted_version(before, observer, organization)
    with replacing(target) as temporary:
        accepted.save_as(temporary, enforce_file_format=True)
    return target


def _read(report: Path) -> Dataset:
    """A report of MAEMC, whole. Raises InputError."""
    import highdicom as hd
    import pydicom

    try:
        found = pydicom.dcmread(report)
        _check_whole(found)
        if found.get("SOPClassUID") == COMPREHENSIVE_3D_SR and found.get("Manufacturer") == "MAEMC":
            hd.sr.Comprehensive3DSR.from_dataset(found)  # raises where a part is missing
            return found
    except Exception as error:
        raise input_error(error, "The report cannot be read").hide(report) from error
    raise InputError(
        f"{report.name} is no report of MAEMC. Choose the file that was written with the score.", "not-a-report"
    ).hide(report)


def _check_whole(data: Dataset) -> None:
    """Raise EOFError where a file ends within an element, which pydicom takes as it is."""
    for tag in data.keys():  # noqa: SIM118 -- a data set's iterator would decode every element
        raw = data.get_item(tag)
        if isinstance(raw.value, bytes) and len(raw.value) < getattr(raw, "length", 0) < _UNDEFINED:
            raise EOFError("it is cut short")


def accepted_version(before: Dataset, observer: str, organization: str, now: datetime | None = None) -> Dataset:
    """The data set that ``accept`` writes. before: stays as it is. now: without it the time is this moment."""
    import highdicom as hd
    from pydicom import Dataset

    now = now or datetime.now()
    after = copy.deepcopy(before)
    after.SOPInstanceUID = after.file_meta.MediaStorageSOPInstanceUID = hd.UID()
    after.InstanceCreationDate = after.ContentDate = now.strftime("%Y%m%d")
    after.InstanceCreationTime = after.ContentTime = now.strftime("%H%M%S.%f")
    after.VerificationFlag, after.PreliminaryFlag = "VERIFIED", "FINAL"
    verifier = Dataset()
    verifier.VerifyingObserverName, verifier.VerifyingOrganization = observer, organization
    verifier.VerifyingObserverIdentificationCodeSequence = []
    verifier.VerificationDateTime = now.strftime("%Y%m%d%H%M%S.%f")
    after.VerifyingObserverSequence = [verifier]
    after.PredecessorDocumentsSequence = [_reference(before)]
    context = hd.sr.ObserverContext(
        codes.PERSON, hd.sr.PersonObserverIdentifyingAttributes(observer, organization_name=organization)
    )
    items = list(after.ContentSequence)
    first = next(n for n, item in enumerate(items) if item.RelationshipType == _OBSERVATION_CONTEXT)
    after.ContentSequence = [*items[:first], *context, *items[first:]]
    return after


def _reference(report: Dataset) -> Dataset:
    """An item of the Predecessor Documents Sequence."""
    from pydicom import Dataset

    instance, series, study = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = report.SOPClassUID, report.SOPInstanceUID
    series.SeriesInstanceUID, series.ReferencedSOPSequence = report.SeriesInstanceUID, [instance]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = report.StudyInstanceUID, [series]
    return study


def _said(what: str, text: str) -> str:
    text = text.strip()
    if not text or len(text) > _LONGEST or not text.isprintable() or set(text) & set("\\="):
        raise UsageError(
            f"Accepting asks for the reader's {what}: 1 to {_LONGEST} printable letters, without \\ and =. Enter it "
            "again."
        )
    # One component alone is a retired form of names in DICOM, which a caret at its end says is meant.
    return f"{text}^" if what == "name" and "^" not in text else text
