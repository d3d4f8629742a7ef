"""Importing this starts the stand-in for Slicer's application, so that a warm Python can have it started already."""

import atexit
import shutil
import tempfile

from slicerhost import start

_folder = tempfile.mkdtemp(prefix="slicer-settings-")
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
start(_folder)
