"""The DICOM files that a CT in the scene was read from, and what their headers say of patient and series."""

from pathlib import Path

import slicer
from MAEMCLib.errors import InputError
from MAEMCLib.images.dicom.examination import read_examination
from MAEMCLib.images.dicom.header import Header, is_dicom, read_header
from MAEMCLib.images.examination import Examination
from slicer.i18n import tr as _

_INSTANCES = "DICOM.instanceUIDs"
"""Attribute by which Slicer's DICOM module names the images of a volume, with spaces between."""


def sourceFile(volumeNode) -> Path:
    """One of the files of a CT that came from DICOM. Raises InputError: it did not, or its files are gone."""
    instances = (volumeNode.GetAttribute(_INSTANCES) or "").split()
    path = _inDatabase(instances[0]) if instances else _stored(volumeNode)
    if path is None and instances:
        path = _stored(volumeNode)
    if path is None and not instances:
        text = _(
            "{volume} did not come from DICOM, so there is no study that DICOM results could belong to. Everything "
            "else can be exported."
        )
        raise InputError(text.format(volume=volumeNode.GetName()), "not-dicom")
    if path is None or not path.is_file():
        text = _("The DICOM files of {volume} are gone. Put them back, or import them into the DICOM database again.")
        raise InputError(text.format(volume=volumeNode.GetName()), "source-gone")
    return path


def headerOf(volumeNode) -> Header:
    """What the headers say; an empty one of a CT that did not come from DICOM, or whose files are gone."""
    try:
        return read_header(sourceFile(volumeNode)) or Header()
    except InputError:
        return Header()


def examinationOf(volumeNode) -> Examination:
    """Whose CT it is, in which frame of reference, from which day, as far as its DICOM files say."""
    try:
        return read_examination(sourceFile(volumeNode))
    except InputError:
        return Examination()


def _inDatabase(instance: str) -> Path | None:
    database = getattr(slicer, "dicomDatabase", None)
    name = database.fileForInstance(instance) if database is not None and database.isOpen else ""
    return Path(name) if name else None


def _stored(volumeNode) -> Path | None:
    """The file of the volume's storage node, where that is DICOM: what is gone counts by its name."""
    storage = volumeNode.GetStorageNode()
    name = storage.GetFullNameFromFileName() if storage is not None and storage.GetFileName() else ""
    if not name:
        return None
    path = Path(name)
    if not path.is_file():
        return path if path.suffix.lower() in (".dcm", ".ima", "") else None
    try:
        return path if is_dicom(path) else None
    except (InputError, OSError):
        return None
