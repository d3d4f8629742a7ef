"""NRRD, MetaImage and NIfTI files: what they state and the voxels they hold, or why they cannot be used.

They are decoded here because a score must not rest on a damaged file. ITK fills missing voxels with zeros, mends
headers, checks no checksum inside NRRD and MetaImage, looks for another file of the same name, and crashes on some
headers.
"""

from pathlib import Path

from ...errors import InputError
from . import metaimage, nifti, nrrd
from .header import VolumeHeader, beginning, damaged

_KINDS = {
    "NRRD": (nrrd.read_header, (".nrrd", ".nhdr")),
    "MetaImage": (metaimage.read_header, (".mha", ".mhd")),
    "NIfTI": (nifti.read_header, (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz")),
}
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"GIF8", b"II*\0", b"MM\0*")


def read_header(path: Path, nifti_form: str | None = None) -> VolumeHeader:
    """The header of a volume file, checked; its ``voxels()`` reads the rest.

    Raises InputError: empty, damaged, of another kind, not one 3-D volume of real numbers, a geometry that cannot be
    used. Raises OSError where the file cannot be opened.
    """
    start, packed = beginning(path)
    if not start and not packed:
        raise InputError(f"{path.name} is empty. Copy it again.", "unreadable")
    kind = _kind(path, start)
    if kind is None:
        if start.startswith(_PICTURES):
            raise InputError(f"{path.name} is a picture of 2 dimensions; a CT volume has 3.", "not-3d")
        formats = "NRRD, NIfTI, MetaImage and DICOM are read"
        raise damaged(path, f"no reader knows this format ({formats}), or it was renamed")
    reader, suffixes = _KINDS[kind]
    if not path.name.lower().endswith(suffixes):
        raise InputError(
            f"{path.name} cannot be read under this name. Its contents are {kind}: name it {path.stem}{suffixes[0]} "
            "and try again.",
            "unreadable",
        )
    return reader(path, nifti_form) if kind == "NIfTI" else reader(path)


def _kind(path: Path, start: bytes) -> str | None:
    """What the contents are; a MetaImage, which may begin with any of its lines, is known by its name too."""
    if start.startswith(b"NRRD0"):
        return "NRRD"
    if nifti.begins(start) or path.name.lower().endswith(_KINDS["NIfTI"][1][-2:]):
        return "NIfTI"
    if start.startswith(b"ObjectType") or path.suffix.lower() in _KINDS["MetaImage"][1]:
        return "MetaImage"
    return None
