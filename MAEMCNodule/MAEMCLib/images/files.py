"""Volumes in files and folders: which reader a path needs, writing in the format of a file name, and what an image
holds as one hash of the contents of its files, wherever they lie and whatever they are called; for a cache, signatures
of those files, which tell whether they changed."""

import hashlib
import os
import tempfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, UsageError, input_error
from ..files.atomic import file_sha256
from .ct import CTVolume
from .dicom.header import is_dicom
from .dicom.series import read_folder, read_series
from .itk import itk_reason, itk_warnings_off, native_path
from .volume_files import metaimage, nifti, nrrd
from .volume_files.header import VolumeHeader, beginning, damaged

NIFTI_FORMS = ("sform", "qform")
_VOLUME_KINDS = {
    "NRRD": (nrrd.read_header, (".nrrd", ".nhdr")),
    "MetaImage": (metaimage.read_header, (".mha", ".mhd")),
    "NIfTI": (nifti.read_header, (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz")),
}
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"GIF8", b"II*\0", b"MM\0*")
_DICOM = ("", ".dcm", ".ima")  # files with these endings count whatever they hold: a slice may be damaged


def read_volume(path: str | Path, series_uid: str | None = None, nifti_form: str | None = None) -> CTVolume:
    """Read a CT from a file (NRRD, NIfTI, MetaImage, DICOM) or a folder of DICOM files.

    series_uid chooses one series of a DICOM folder that holds several. A single DICOM file stands for its series.
    nifti_form: ``sform`` or ``qform``, for a NIfTI file whose two geometries disagree; other files have one.
    Raises InputError: file missing, closed to this user, damaged or of another kind, more than one series, slices
    missing, not enough memory.
    """
    if nifti_form not in (None, *NIFTI_FORMS):
        raise UsageError(f"--nifti-form takes {' or '.join(NIFTI_FORMS)}, not '{nifti_form}'.")
    path = Path(path)
    try:
        if path.is_dir():
            os.scandir(path).close()  # raises for a folder without rights, which would look empty below
        if path.is_dir() or is_dicom(path):
            with itk_warnings_off():
                return read_series(path, series_uid)
        if series_uid is not None:
            raise UsageError(f"A series can be chosen in a DICOM folder only, and {path.name} is a file.")
        header = read_header(path, nifti_form)
        return CTVolume(header.voxels(), header.affine, path.name, header.remarks)
    except InputError as error:
        error.hide(path)
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        text = f"There is no file or folder {path}. Check the path."
        raise InputError(text, "missing-file", (path, path.name)) from error
    except (OSError, MemoryError) as error:
        raise input_error(error, f"{path.name} cannot be read").hide(path) from error


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
    reader, suffixes = _VOLUME_KINDS[kind]
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
    if nifti.begins(start) or path.name.lower().endswith(_VOLUME_KINDS["NIfTI"][1][-2:]):
        return "NIfTI"
    if start.startswith(b"ObjectType") or path.suffix.lower() in _VOLUME_KINDS["MetaImage"][1]:
        return "MetaImage"
    return None


def write_volume(volume: CTVolume, path: str | Path) -> None:
    """Write a volume in the format of the file name (``.nrrd``, ``.nii.gz``, ``.mha``), compressed, with its geometry.

    What stood there before is replaced when the new file is complete. Raises InputError where the folder cannot be
    written or the disk is full.
    """
    import SimpleITK as sitk

    path = Path(path)
    native_path(path)
    array = volume.array
    if array.dtype.byteorder == ">" or array.dtype == np.float16:
        array = array.astype(np.float32)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing(volume.spacing.tolist())
    image.SetOrigin(volume.origin.tolist())
    image.SetDirection(volume.direction.ravel().tolist())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # In a folder of its own, because some formats are two files that name each other.
        with tempfile.TemporaryDirectory(prefix=".", suffix=".part", dir=path.parent) as folder, itk_warnings_off():
            sitk.WriteImage(image, native_path(Path(folder, path.name)), useCompression=True)
            read_header(Path(folder, path.name)).voxels()  # ITK does not notice every full disk
            written = sorted(Path(folder).iterdir(), key=lambda file: file.name == path.name)
            for file in written:
                with file.open("rb+") as stream:
                    os.fsync(stream.fileno())
            for file in written:  # the header last
                os.replace(file, path.with_name(file.name))
    except (OSError, RuntimeError, InputError) as error:
        raise InputError(
            f"{path.name} cannot be written in {path.parent} ({_why_not_written(error)}). What was there before is "
            "unchanged; free space, or choose a folder that can be written.",
            "not-written",
            (path.parent, path.name),
        ) from error


def _why_not_written(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    cut = isinstance(error, InputError) or any(word in str(error) for word in ("failed to", "No space left"))
    return "the disk did not take all of it" if cut else itk_reason(error)


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


def times_signature(image: Path, series_uid: str | None) -> str:
    """Of where the files are, how large and when written: equal means unchanged, different that contents must tell."""
    digest = _signature_of(series_uid)
    for path in sorted(image_files(image)):
        stat = path.stat()
        digest.update(f"{os.path.abspath(path)}|{stat.st_size}|{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def content_signature(image: Path, series_uid: str | None) -> str:
    """Of the contents of the files, wherever they are. Of a folder with many series only the one that is meant."""
    files = sorted(image_files(image))
    if len(files) > 1 and (series_uid or (image.is_file() and is_dicom(image))):
        folder = image if image.is_dir() else image.parent
        stacks = [
            stack
            for stack in read_folder(folder).stacks
            if (stack.is_called(series_uid) if series_uid else image in stack.files)
        ]
        files = sorted({path for stack in stacks for path in stack.files})
    digest = _signature_of(series_uid)
    for path in files:
        digest.update(f"{path.name}|{file_sha256(path)}\n".encode())
    return digest.hexdigest()


def _signature_of(series_uid: str | None) -> Any:
    return hashlib.sha256(f"{series_uid}\n".encode() if series_uid else b"")
