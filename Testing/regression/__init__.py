"""Do two revisions train the same? ``python -m Testing.regression.training REVISION`` (``make compare-training``).

Both revisions train the same tiny inputs through ``maemc-train`` on one thread; then every tensor and every number that
they leave on disk is compared. It does not matter where the code of a revision lies or what its parts are called, as
long as its commands, options and files stay. What is renamed on disk is stated in ``renamed.py``.
"""
