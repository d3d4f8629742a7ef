"""The importers, by name: from a data set as it is distributed to the rows of a manifest.

An importer is a function of the source and of a folder beside the manifest, where it puts what it has to take out of an
archive. It gives rows with the source's own identifiers, and names everything that it skips; hashing the identifiers is
the same for all (``pseudonymized``). A new one is one file and one line here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .dicom import import_dicom
from .images import import_images
from .imported import Imported, Skipped, pseudonymized
from .lidc import import_lidc
from .lidc_cubes import import_lidc_cubes
from .luna25 import import_luna25
from .scene import import_scene

IMPORTERS: dict[str, Callable[[Path, Path], Imported]] = {
    "lidc": import_lidc,
    "luna25": import_luna25,
    "dicom": import_dicom,
    "images": import_images,
    "scene": import_scene,
    "lidc-cubes": import_lidc_cubes,
}

__all__ = ["IMPORTERS", "Imported", "Skipped", "pseudonymized"]
