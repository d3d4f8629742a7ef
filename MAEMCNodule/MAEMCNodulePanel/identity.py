"""Who is who in the audit log: a nodule, its CT and its patient by pseudonyms, however they are called in the scene."""

import contextlib
import hashlib
import json
import uuid

import numpy as np
import slicer
from MAEMCLib.cases.pseudonyms import key_name, pseudonym_key
from MAEMCLib.errors import InputError
from MAEMCLib.review.reviews import Reviews, Subject

from .analysis import SUBJECT, UID, readTexts
from .dicomfiles import headerOf
from .volumes import ijkToWorldRas

_CONTENT = "MAEMC.Content"
"""Attribute of a CT: the hash of what it holds."""
_HASHED_SLICES = 16
_keys: dict = {}  # home -> name of its key


def uidOf(analysis, pointID: str) -> str:
    """The nodule's own UID (under 2.25, ITU-T X.667), made when it is first asked for and kept with the scene."""
    uid = analysis.tableNode.GetAttribute(UID + pointID)
    if not uid:
        uid = f"2.25.{uuid.uuid4().int}"
        analysis.tableNode.SetAttribute(UID + pointID, uid)
    return uid


def subjectOf(reviews: Reviews, analysis, pointID: str) -> Subject:
    """The pseudonyms of a nodule, made once and kept with the scene; at a site with another key they are others.

    Raises InputError where the home's key cannot be made or read.
    """
    if reviews.home not in _keys:
        _keys[reviews.home] = key_name(pseudonym_key(reviews.home))
    key, kept = _keys[reviews.home], readTexts(analysis.tableNode.GetAttribute(SUBJECT + pointID))
    if kept.get("key") == key and {"nodule", "volume"} <= kept.keys():
        return Subject(kept["nodule"], kept["volume"], kept.get("patient"))
    volume, patient = _namesOf(analysis.volumeNode)
    subject = reviews.subject(volume, uidOf(analysis, pointID), patient)
    known = {name: value for name, value in vars(subject).items() if value is not None}
    analysis.tableNode.SetAttribute(SUBJECT + pointID, json.dumps({**known, "key": key}))
    return subject


def _namesOf(volumeNode) -> tuple:
    """(the CT's series UID, or the hash of its content where it did not come from DICOM; PatientID or None)."""
    if volumeNode is None:
        return "", None
    header = headerOf(volumeNode)
    return header.text("SeriesInstanceUID") or _contentHash(volumeNode), header.text("PatientID") or None


def _contentHash(volumeNode) -> str:
    """Of grid and voxels, of these some slices: a CT is large, and a window waits."""
    kept = volumeNode.GetAttribute(_CONTENT)
    if kept:
        return kept
    voxels = slicer.util.arrayFromVolume(volumeNode)
    found = hashlib.sha256(repr(voxels.shape).encode())
    with contextlib.suppress(InputError):  # under a transform that bends it: the voxels alone
        found.update(np.round(ijkToWorldRas(volumeNode), 3).tobytes())
    for k in np.unique(np.linspace(0, len(voxels) - 1, _HASHED_SLICES).astype(int)):
        found.update(np.ascontiguousarray(voxels[k]).tobytes())
    volumeNode.SetAttribute(_CONTENT, found.hexdigest())
    return found.hexdigest()
