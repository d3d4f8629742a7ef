"""Results that leave: tables, pages of a report, DICOM objects. Names stay pseudonyms unless somebody wants them.

A number that may not be seen leaves nowhere (``reviewstate``).
"""

import dataclasses
from pathlib import Path

from MAEMCLib.dicom_results.nodule import Outline
from MAEMCLib.errors import InputError, MAEMCError, UsageError
from MAEMCLib.files.atomic import home
from MAEMCLib.report.scores import write_results
from MAEMCLib.results import NoduleResult
from MAEMCLib.review.observer import read_observer
from MAEMCLib.review.review import ACCEPTED, CORRECTED, REJECTED
from MAEMCLib.worker.dicom_request import StatedVolume, encode_outline
from slicer.i18n import tr as _

from .dicomfiles import sourceFile
from .examinations import examinationOf
from .identity import subjectOf
from .outlines import outlineOf
from .priorlinks import trackingUIDOf
from .reviewstate import decisionOf, hasNumber, hiddenBecause, openedReviews, resultOf, seenRecords
from .scorevalues import settingOf, valuesOf
from .volumes import ctVolume


def rowsOf(analysis, named: bool) -> list:
    """The rows of an analysis as they may leave (``NoduleResult``). named: with the names that CT and nodules have in
    the scene; otherwise nodules are numbered in their order, and the CT has its pseudonym.

    Raises InputError where there is none, or a pseudonym cannot be made.
    """
    rows = []
    for number, (pointID, record) in enumerate(seenRecords(analysis), start=1):
        if not record.result:
            continue
        names = {"nodule_id": record.name}
        if not named:
            names = {"nodule_id": f"N{number}", "image": subjectOf(openedReviews(), analysis, pointID).volume}
        rows.append(NoduleResult.from_json({**record.result, **names}))
    if not rows:
        raise InputError(_("There is no result to export yet. Score a nodule first."), "no-results")
    return rows


def exportTables(analysis, folder, card, device: str | None, named: bool = False) -> list:
    """Write results.csv and results.json, each whole or not at all; returns their paths. Raises InputError."""
    write_results(Path(folder), rowsOf(analysis, named), card, device)
    return [Path(folder) / "results.csv", Path(folder) / "results.json"]


def sentenceOf(analysis) -> str:
    """The examination's category as a sentence for the report; empty where there is none."""
    if analysis is None or not analysis.located or not settingOf(analysis):
        return ""
    values = valuesOf(analysis)
    return (examinationOf(values, len(analysis.pointIndices()))[0].sentence or "") if values else ""


def whyNoDicom(analysis, pointID: str) -> str:
    """Why no DICOM results can be written of a nodule, in a sentence; empty where they can."""
    try:
        _checkDicom(analysis, pointID)
    except MAEMCError as error:
        return str(error)
    return ""


def dicomRequest(analysis, pointID: str, folder, model) -> dict:
    """What the worker is asked: "dicom" with these fields. model: that has scored (``StoredModel``).

    Raises InputError, UsageError as ``whyNoDicom`` says; InputError for an outline that is too large.
    """
    source, record = _checkDicom(analysis, pointID)
    volume, outline = ctVolume(analysis.volumeNode), outlineOf(analysis, pointID)
    decision, result = decisionOf(analysis, pointID, record), resultOf(record)
    accepted = decision is not None and decision["decision"] in (ACCEPTED, CORRECTED)
    observer = read_observer(home()) if accepted else None
    fields = {
        "source": str(source),
        "folder": str(Path(folder) / "dicom"),
        "name": f"N{analysis.recordIDs().index(pointID) + 1}",
        "number": analysis.recordIDs().index(pointID) + 1,
        "model": str(model.path),
        "volume": StatedVolume.of(volume, result.point_lps).to_json(),
        "result": dataclasses.replace(result, nodule_id=record.name).to_json(),
        "tracking_uid": trackingUIDOf(analysis, pointID),
    }
    if outline is not None:
        what = Outline(outline.mask, None, outline.algorithm, outline.version, outline.network)
        fields["outline"] = encode_outline(what)
    return fields | ({"observer": dataclasses.asdict(observer)} if observer else {})


def _checkDicom(analysis, pointID: str) -> tuple:
    """(a DICOM file of the CT, the nodule's record). Raises InputError, UsageError with the reason why not."""
    record = analysis.record(pointID) if analysis and pointID else None
    if record is None or record.state != "scored" or not hasNumber(record):
        raise UsageError(_("Score a nodule first."), "no-results")
    if not analysis.located:
        raise UsageError(_("DICOM results are written of nodules in a CT, not of pictures."), "input-kind")
    if analysis.volumeNode is None:
        raise InputError(_("The CT was removed from the scene. Load it again."), "no-volume")
    source = sourceFile(analysis.volumeNode)
    hidden = hiddenBecause(analysis, pointID, record)
    if hidden:
        raise UsageError(hidden, "hidden")
    decision = decisionOf(analysis, pointID, record)
    if decision is not None and decision["decision"] == REJECTED:
        raise UsageError(_("The result was rejected: it goes nowhere. Accept or correct it first."), "rejected")
    return source, record
