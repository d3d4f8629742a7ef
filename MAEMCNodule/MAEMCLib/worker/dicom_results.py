"""DICOM results of a nodule that was scored on a volume in the owner's memory: written here, where highdicom is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..dicom_results.accepting import accept
from ..dicom_results.nodule import Outline, ReportedNodule
from ..dicom_results.source import read_source
from ..dicom_results.writing import check_writable, write_nodule
from ..images.ct import CTVolume
from ..images.files import read_volume
from ..measures.measures import measure
from ..models.card import ModelCard
from ..results import NoduleResult
from .dicom_request import StatedVolume, decode_mask
from .protocol import require

ACCEPTED = "report-accepted.dcm"


def write_dicom_results(message: dict, card: ModelCard) -> dict[str, Any]:
    """Write the nodule of a request into a folder (see ``dicom_results.writing.write_nodule``), accepted where a reader
    is named. Returns its path, whether it is new, and the names of its files.

    Raises InputError, UsageError; nothing that stood there before is touched.
    """
    import highdicom  # noqa: F401 -- that it is missing is said before anything is read

    check_writable(card)
    stated, path = StatedVolume.from_json(message.get("volume")), Path(_text(message, "source"))
    source, volume = read_source(path), read_volume(path)
    stated.check(volume)
    values, number = message.get("result"), message.get("number", 1)
    require(isinstance(values, dict) and type(number) is int, "A request has a 'result' and its 'number'.", "result")
    outline, tracking = _outline(message.get("outline"), volume), message.get("tracking_uid") or ""
    nodule = ReportedNodule(NoduleResult.from_json(values), card, number, outline, tracking)
    name = Path(_text(message, "name")).name
    written = write_nodule(Path(_text(message, "folder")), name, source, nodule, volume)
    observer = message.get("observer")
    if observer is not None and not (written.folder / ACCEPTED).exists():
        accept(written.report, *(_text(observer, key) for key in ("name", "organization")))
    files = sorted(file.name for file in written.folder.iterdir())
    return {"folder": str(written.folder), "new": written.new, "files": files}


def _outline(values: object, volume: CTVolume) -> Outline | None:
    """Inverse of ``encode_outline``, measured anew. Raises InputError, UsageError."""
    if values is None:
        return None
    require(isinstance(values, dict), "The 'outline' of a request is an object, or left out.", "outline")
    mask = decode_mask(values)
    parameters = tuple(str(one) for one in values.get("parameters") or ())
    names = _text(values, "algorithm"), _text(values, "version")
    return Outline(mask, measure(volume, mask), *names, values.get("network") is True, parameters)


def _text(values: dict, name: str) -> str:
    value = values.get(name)
    require(isinstance(value, str) and value and "\0" not in value, f"'{name}' of a request is a text.", name)
    return value
