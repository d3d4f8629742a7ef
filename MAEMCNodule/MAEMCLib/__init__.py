"""MAEMC core library: from a CT and a point to a malignancy score and its explanation.

Nothing here imports Slicer, Qt or VTK. All positions are LPS millimeters. The modules follow one journey:
``ct`` -> ``roi`` -> ``montage`` -> ``predict`` -> ``explain`` -> ``report``.
"""

__version__ = "0.1.0"
