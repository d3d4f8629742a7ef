"""A stand-in for the 3D Slicer application: real MRML (slicer-core) and real Qt (PySide6), strict where PythonQt is.

``start(settings_folder)`` returns the running application; scripted modules then import as they do in Slicer.
"""

import os

# Every enum an int, and found on its class without the name of the enum (qt.Qt.AlignLeft), as in PythonQt. PySide6
# reads this when it is first imported: so before anything here imports it.
os.environ.setdefault("PYSIDE6_OPTION_PYTHON_ENUM", "0x3")

from .application import start

__all__ = ["start"]
