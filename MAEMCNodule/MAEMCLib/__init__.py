"""MAEMC core library: from a CT and a point to a malignancy score and its explanation.

Nothing here imports Slicer, Qt or VTK. All positions are LPS millimeters. The folders follow one journey:
``images`` -> ``inputs`` -> ``models`` -> ``explain`` -> ``report``.
"""

__version__ = "0.1.0"
