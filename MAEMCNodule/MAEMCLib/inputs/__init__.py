"""What a case can be seen as: every kind of input is one file of this folder, with one object ``INPUT``."""

from importlib import import_module
from pkgutil import iter_modules

from .input import Input

_MODULES = [import_module(f"{__package__}.{found.name}") for found in iter_modules(__path__)]
INPUTS: dict[str, Input] = {module.INPUT.name: module.INPUT for module in _MODULES if hasattr(module, "INPUT")}
"""By name, which is what a card, a job and a cache say under "input"."""
