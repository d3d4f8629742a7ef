"""Slicer's own Python as a program of its own, for the processes that do the work; both modules' panels use it."""

import os
import shutil
import sys
from pathlib import Path
from types import ModuleType

import MAEMCLib
import slicer
from MAEMCLib.errors import MAEMCError
from slicer.i18n import tr as _


def slicerPython() -> str:
    """Path of Slicer's Python. Raises MAEMCError where it cannot be found."""
    suffix = ".exe" if os.name == "nt" else ""
    candidates = [
        shutil.which("PythonSlicer"),
        os.path.join(getattr(slicer.app, "slicerHome", ""), "bin", f"PythonSlicer{suffix}"),
        sys.executable,
    ]
    for candidate in candidates:
        if candidate and os.path.isfile(candidate) and "python" in os.path.basename(candidate).lower():
            return candidate
    message = _("Slicer's Python (PythonSlicer) was not found, so nothing can be computed. Install Slicer again.")
    raise MAEMCError(message, "no-python")


def libraryEnvironment(*libraries: ModuleType) -> dict:
    """This process's environment with MAEMCLib, and further packages of ours, on the path of another Python."""
    folders = [str(Path(library.__file__).resolve().parent.parent) for library in (MAEMCLib, *libraries)]
    folders = [*dict.fromkeys(folders), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders)), "PYTHONUTF8": "1"}
