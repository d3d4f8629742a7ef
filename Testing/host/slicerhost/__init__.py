"""A stand-in for the 3D Slicer application: real MRML (slicer-core) and real Qt (PySide6), strict where PythonQt is.

``start(settings_folder)`` returns the running application; scripted modules then import as they do in Slicer.
"""

from .application import start

__all__ = ["start"]
