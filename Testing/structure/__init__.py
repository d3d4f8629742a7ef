"""Measures of the house itself, by one code for any revision of it: how long, how tangled, how far a reader must walk.

``python -m Testing.structure.counts [REVISION]`` reads the text: code lines, longest functions and files, import
circles, questions after the kind of an input. ``python -m Testing.structure.journeys`` follows real runs from file to
file. ``test_structure.py`` holds what must stay true.
"""
