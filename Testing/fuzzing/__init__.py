"""Fuzzing of everything that reads data from outside, with one rule as its judge: **the same content as the sound input
has, or a refusal in the product's own words; never a third thing** (another exception, a crash, a hang, other voxels).

``readers.py`` and the files that it names say what is read, ``mutations.py`` how sound inputs are spoiled,
``judging.py`` what counts as a fault. ``make test`` runs a few hundred cases a reader, ``make soak`` the table:
``python -m Testing.fuzzing``.
"""
