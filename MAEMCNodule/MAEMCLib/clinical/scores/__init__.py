"""The clinical scores: every file of this folder has one object ``SCORE``."""

from importlib import import_module
from pkgutil import iter_modules

from ..score import Score

_MODULES = [import_module(f"{__package__}.{found.name}") for found in iter_modules(__path__)]
SCORES: dict[str, Score] = {module.SCORE.name: module.SCORE for module in _MODULES}
"""By name, as the command line and a panel offer them."""
