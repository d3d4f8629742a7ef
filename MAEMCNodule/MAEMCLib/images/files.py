"""Volumes in files and folders: which reader a path needs, and writing in the format of a file name."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from ..errors import InputError, UsageError, input_error
from ..machine.installation import native_path
from .ct import CTVolume
from .dicom.header import is_dicom
from .dicom.series import read_series
from .itk import itk_reason, itk_warnings_off
from .volume_files import read_header

NIFTI_FORMS = ("sform", "qform")


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
