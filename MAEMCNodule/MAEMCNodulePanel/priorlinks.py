"""Which CT is the prior of another one, and which of its nodules is the same nodule: chosen by a reader.

The prior is kept with the CT, the link with the nodule: by the UID of the prior's nodule, which is also how both are
tracked in DICOM results.
"""

import dataclasses
import re

import numpy as np
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.measures.growth import Growth, Interval, growth, interval
from MAEMCLib.measures.measures import Measures, measure
from MAEMCLib.measures.prior import Proposal, proposals, to_prior
from slicer.i18n import tr as _

from .analysis import LINK, Analysis
from .dicomfiles import examinationOf
from .identity import uidOf
from .outlines import DrawnOutline, outlineOf
from .volumes import ctVolume, lpsFromRas

_PRIOR, _DAYS, _CONFIRMED = "MAEMC.Prior", "MAEMC.PriorDays", "MAEMC.SamePatient"
"""Of a CT: reference to its prior; days between, as a reader states them; that a reader has confirmed the patient."""

LONGEST_DAYS = 36_600


@dataclasses.dataclass(frozen=True)
class MeasuredNodule:
    """A nodule in one of the two CTs."""

    volume: CTVolume
    outline: DrawnOutline
    measures: Measures


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A nodule then and now."""

    prior: MeasuredNodule
    current: MeasuredNodule
    growth: Growth


def priorOf(volumeNode):
    """The prior of a CT, or None."""
    return volumeNode.GetNodeReference(_PRIOR) if volumeNode is not None else None


def setPrior(volumeNode, priorNode, samePatient: bool = False) -> None:
    """Take a CT for the prior of another one; None for none. samePatient: the reader has confirmed that both are of
    one patient, whatever their PatientIDs say.

    Raises InputError: two patients, a prior that is the later one, or the same CT; the prior is then as it was.
    """
    if priorNode is volumeNode and priorNode is not None:
        raise InputError(_("A CT is no prior of itself. Choose an earlier one."), "same-volume")
    if priorNode is None:
        volumeNode.RemoveNodeReferenceIDs(_PRIOR)
    else:
        _checkPair(volumeNode, priorNode, samePatient)
        volumeNode.SetNodeReferenceID(_PRIOR, priorNode.GetID())
    for attribute in (_DAYS, _CONFIRMED):
        volumeNode.RemoveAttribute(attribute)
    if samePatient:
        volumeNode.SetAttribute(_CONFIRMED, "1")


def daysGiven(volumeNode) -> str:
    """The days between a CT and its prior as a reader has typed them; empty where the files' dates hold."""
    return volumeNode.GetAttribute(_DAYS) or ""


def setDays(volumeNode, text: str) -> None:
    """Keep the days between a CT and its prior; an empty text lets the files' dates hold. Raises UsageError."""
    text = text.strip()
    if text:
        _days(text)
        volumeNode.SetAttribute(_DAYS, text)
    else:
        volumeNode.RemoveAttribute(_DAYS)


def _days(text: str) -> float:
    """Raises UsageError for what is no number of days."""
    try:
        days = float(text)
    except ValueError:
        days = 0.0
    if not 0 < days < LONGEST_DAYS:
        words = _("'{text}' is no number of days. Type the days between both CTs.")
        raise UsageError(words.format(text=text), "days")
    return days


def intervalOf(volumeNode) -> Interval:
    """The days between a CT and its prior. Raises InputError, UsageError where they are not known."""
    text = daysGiven(volumeNode)
    days = _days(text) if text else None
    confirmed = volumeNode.GetAttribute(_CONFIRMED) is not None
    try:
        return interval(_ct(priorOf(volumeNode)), _ct(volumeNode), days, confirmed)
    except UsageError as error:
        raise UsageError(_("The files state no dates. Type the days between both CTs."), "days") from error
    except InputError as error:  # without the names of the command's options
        raise InputError(re.sub(r" \(--[^)]*\)", "", str(error)), error.code) from error


def priorNodules(volumeNode) -> dict:
    """{UID: (analysis, point ID, name)} of the nodules of a CT's prior."""
    found = {}
    for analysis in Analysis.ofVolume(priorOf(volumeNode)):
        if analysis.located:
            for pointID, record in analysis.records():
                found[uidOf(analysis, pointID)] = (analysis, pointID, record.name)
    return found


def linkOf(analysis, pointID: str) -> str:
    """The UID of the prior's nodule that a nodule is; empty where none is linked."""
    return analysis.tableNode.GetAttribute(LINK + pointID) or ""


def setLink(analysis, pointID: str, uid: str) -> None:
    """Take a nodule and one of the prior, by its UID, for the same; an empty one for none."""
    if uid:
        analysis.tableNode.SetAttribute(LINK + pointID, uid)
    else:
        analysis.tableNode.RemoveAttribute(LINK + pointID)


def trackingUIDOf(analysis, pointID: str) -> str:
    """The UID by which a nodule is tracked over studies: that of the earliest that it is linked to."""
    seen: set = set()
    while (uid := linkOf(analysis, pointID)) and uid not in seen:
        seen.add(uid)
        linked = priorNodules(analysis.volumeNode).get(uid)
        if linked is None:  # its CT was removed
            return uid
        analysis, pointID, _name = linked
    return uidOf(analysis, pointID)


def arePositionsComparable(volumeNode) -> bool:
    """Whether a place in a CT is the same place in its prior: one frame of reference, or one of the two was registered
    to the other, by a transform above it."""
    return _toPrior(volumeNode) is not None


def proposedOf(analysis, pointID: str) -> Proposal | None:
    """The prior's nodule that a nodule may be, by position: its UID as the name. None where nothing is proposed."""
    matrix = _toPrior(analysis.volumeNode)
    if matrix is None:
        return None
    here = {one: lpsFromRas(analysis.pointRas(one)) for one in analysis.pointIndices()}
    there = {
        uid: lpsFromRas(other.pointRas(otherID))
        for uid, (other, otherID, _name) in priorNodules(analysis.volumeNode).items()
        if other.pointRas(otherID) is not None
    }
    return proposals(here, there, matrix).get(pointID)


def compare(analysis, pointID: str) -> Comparison:
    """Measure a nodule and the one it is linked to, both alike, and what has become of it.

    Raises InputError, UsageError: no prior, no link, no outline in one of the two, no days between, another patient.
    """
    volumeNode = analysis.volumeNode
    if priorOf(volumeNode) is None:
        raise UsageError(_("Choose the prior CT first."), "no-prior")
    linked = priorNodules(volumeNode).get(linkOf(analysis, pointID))
    if linked is None:
        raise UsageError(_("Choose which nodule of the prior CT it is first."), "no-link")
    between = intervalOf(volumeNode)
    current, prior = _measured(analysis, pointID, _("this")), _measured(linked[0], linked[1], _("the prior"))
    found = growth(prior.measures, current.measures, between)
    if prior.outline.network != current.outline.network:
        text = _(
            "One of the two was outlined by a network and the other by a reader, which changes a volume by itself."
        )
        found = dataclasses.replace(found, notes=(*found.notes, text))
    return Comparison(prior, current, found)


def _measured(analysis, pointID: str, which: str) -> MeasuredNodule:
    outline = outlineOf(analysis, pointID)
    if outline is None:
        text = _("{name} has no outline in {which} CT. Draw it as a segment in Segment Editor, then compare.")
        raise InputError(text.format(name=analysis.record(pointID).name, which=which), "no-outline")
    volume = ctVolume(analysis.volumeNode)
    return MeasuredNodule(volume, outline, measure(volume, outline.mask))


def _ct(volumeNode) -> CTVolume:
    """A CT with what its DICOM files say of patient, frame of reference and day; not to be kept, as ``ctVolume``."""
    return dataclasses.replace(ctVolume(volumeNode), examination=examinationOf(volumeNode))


def _checkPair(volumeNode, priorNode, samePatient: bool) -> None:
    before, now = examinationOf(priorNode), examinationOf(volumeNode)
    if now.of_same_patient(before) is False and not samePatient:
        text = _(
            "{prior} is of another patient (PatientID). Choose another prior; where you know that both are of one "
            "patient, confirm it."
        )
        raise InputError(text.format(prior=priorNode.GetName()), "other-patient")
    days = before.days_until(now)
    if days is not None and days < 0:
        text = _("{prior} is {days} days later than {current}. Exchange the two.")
        values = {"prior": priorNode.GetName(), "current": volumeNode.GetName(), "days": -days}
        raise InputError(text.format(**values), "prior-later")


def _toPrior(volumeNode) -> np.ndarray | None:
    priorNode = priorOf(volumeNode)
    if priorNode is None:
        return None
    registered = any(node.GetParentTransformNode() is not None for node in (volumeNode, priorNode))
    return to_prior(_ct(priorNode), _ct(volumeNode), np.eye(4) if registered else None)
