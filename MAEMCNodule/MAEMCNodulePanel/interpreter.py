"""Slicer's own Python as a program of its own, for the processes that do the work; both modules' panels use it."""

import os
import shutil
import sys

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
