"""Signatures of the files that an image is read from, which tell whether they changed."""

import hashlib
import os
from pathlib import Path
from typing import Any

from MAEMCLib.files.atomic import file_sha256
from MAEMCLib.images.dicom.header import is_dicom
from MAEMCLib.images.dicom.series import read_folder
from MAEMCLib.images.files import image_files


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
