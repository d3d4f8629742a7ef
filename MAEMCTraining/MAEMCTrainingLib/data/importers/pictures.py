"""Whether a file is a 2-D picture, how large it is and whose it is, read from its header."""

from pathlib import Path

from MAEMCLib.errors import InputError
from MAEMCLib.images.dicom.header import read_header
from MAEMCLib.images.gray import open_raster

from .dicom_tree import plain

FLAT_MODALITIES = ("US", "MG", "CR", "DX")
"""Ultrasound, mammograms, radiographs."""
SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_END_OF_JPEG = b"\xff\xd9"
_TAIL_BYTES = 4096


def is_picture(path: Path) -> bool:
    """Whether a file is meant as a picture, by its suffix or as DICOM by its first bytes; it may be damaged."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with open(path, "rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_picture(path: Path) -> tuple[dict[str, str], str]:
    """Modality, anatomy, width and height in pixels, as the columns of a manifest; the patient as DICOM says, else
    empty. Raises InputError with the reason where the file cannot be read or is not whole."""
    try:
        with open(path, "rb") as stream:
            start = stream.read(132)
    except OSError as error:
        raise InputError(f"it cannot be read ({error.strerror})") from error
    if not start:
        raise InputError("it is empty")
    if start[128:] == b"DICM":
        return _dicom(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError("no PNG, JPEG or DICOM file")
    return _raster(path)


def _raster(path: Path) -> tuple[dict[str, str], str]:
    with open_raster(path) as image:
        kind, (width, height) = image.format, image.size
        image.verify()  # the checksums of a PNG; says nothing of a JPEG
    if kind == "JPEG":
        with open(path, "rb") as stream:
            stream.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            if _END_OF_JPEG not in stream.read():
                raise InputError("it is cut short")
    return _columns("", "", width, height), ""


def _dicom(path: Path) -> tuple[dict[str, str], str]:
    header = read_header(path, ("BodyPartExamined",))
    modality = header.text("Modality")
    width, height, frames = (header.number(name) for name in ("Columns", "Rows", "NumberOfFrames"))
    if modality not in FLAT_MODALITIES:
        hint = "; maemc-train import dicom takes CT" if modality == "CT" else ""
        raise InputError(f"DICOM of the modality {modality or 'not stated'}, not {', '.join(FLAT_MODALITIES)}{hint}")
    if frames > 1:
        raise InputError(f"DICOM with {frames:g} frames; export single pictures")
    if not (width >= 1 and height >= 1):  # what is not stated is NaN
        raise InputError("DICOM without an image")
    anatomy = plain(header.text("BodyPartExamined")).upper()
    return _columns(modality, anatomy, int(width), int(height)), plain(header.text("PatientID"))


def _columns(modality: str, anatomy: str, width: int, height: int) -> dict[str, str]:
    return {"modality": modality, "anatomy": anatomy, "width": str(width), "height": str(height)}
