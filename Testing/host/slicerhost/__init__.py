"""A stand-in for the 3D Slicer application: real MRML (slicer-core) and real Qt (PySide6), strict where PythonQt is.

``start(settings_folder)`` returns the running application; scripted modules then import as they do in Slicer.
"""

import ctypes
import os
import sys

# Every enum an int, and found on its class without the name of the enum (qt.Qt.AlignLeft), as in PythonQt. PySide6
# reads this when it is first imported: so before anything here imports it.
os.environ.setdefault("PYSIDE6_OPTION_PYTHON_ENUM", "0x3")

# PySide6 6.12 gives back a reference to None that it never took with every call that returns nothing; Python 3.11 ends
# the process when none is left. Later Pythons do not count references to None.
if sys.version_info < (3, 12):
    ctypes.c_ssize_t.from_address(id(None)).value += 1 << 40

from .application import start

__all__ = ["start"]
