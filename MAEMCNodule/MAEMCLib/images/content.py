"""What an image holds, as one hash of the contents of its files, wherever they lie and whatever they are called."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from ..errors import InputError
from ..files.atomic import file_sha256
from .dicom.header import is_dicom
from .volume_files import read_header

_DICOM = ("", ".dcm", ".ima")  # files with these endings count whatever they hold: a slice may be damaged


def content_sha256(image: Path, volume: bool = True) -> str:
    """The hash of a volume (a file with its detached voxels, a folder of DICOM files, a DICOM file with its series) or
    of one picture. In a folder neither names nor order count. Files that have not changed are hashed once a process.

    Raises InputError where there is neither a file nor a folder, OSError where one cannot be read.
    """
    if not image.exists():
        raise InputError(f"There is no file or folder {image}. Check the path.", "missing-file", [image])
    if not image.is_file() and not image.is_dir():
        # A pipe or a device may never end.
        raise InputError(f"{image} is a pipe, socket or device and no image. Choose an image.", "unreadable", [image])
    stats = [(path, path.stat()) for path in (image_files(image) if volume else [image])]
    return _hash(tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats), image.is_dir())


def image_files(image: Path) -> list[Path]:
    """Every file that a volume could be read from, the image itself first where it is one."""
    if image.is_dir():  # results and notes may lie there too, and change
        return [path for path in _files(image.rglob("*")) if path.suffix.lower() in _DICOM or _may_be_dicom(path)]
    if image.name.lower().endswith((".hdr", ".img", ".img.gz")):
        stem = image.name.split(".")[0]
        beside = _files(image.parent.iterdir())
        return [image, *(path for path in beside if path != image and path.name.split(".")[0] == stem)]
    if is_dicom(image):  # it stands for its series
        return [image, *(path for path in _files(image.parent.rglob("*")) if path != image and _may_be_dicom(path))]
    return [image, *_detached(image)]


def _detached(image: Path) -> list[Path]:
    """The file of voxels that a header names, where it is another one."""
    try:
        voxels = read_header(image).stored.path
    except InputError:  # what cannot be read as a volume is one file
        return []
    return [voxels] if voxels != image else []


def _files(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.is_file())


def _may_be_dicom(path: Path) -> bool:
    try:
        return is_dicom(path)
    except (OSError, InputError):  # what cannot be read here is not read as a slice either
        return False


@lru_cache(maxsize=1024)
def _hash(state: tuple[tuple[str, int, int], ...], folder: bool) -> str:
    """state: path, bytes and time of each file; the first one is the image itself, unless that is a folder."""
    hashes = [file_sha256(Path(path)) for path, _, _ in state]
    first = [] if folder else hashes[:1]
    return hashlib.sha256("\n".join([*first, *sorted(hashes[len(first) :])]).encode()).hexdigest()
