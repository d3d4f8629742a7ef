"""The heads of a classifier. A file NAME.py in this folder with a class ``HEAD`` is the head NAME."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from ...errors import ModelError
from ..classifier import Classifier

HEADS: tuple[str, ...] = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def head_named(name: str) -> type[Classifier]:
    """The class of a head. Raises ModelError for a name that there is no file of."""
    if name not in HEADS:
        raise ModelError(f"There is no head '{name}'. The heads are {', '.join(HEADS)}.", "architecture")
    return import_module(f"{__name__}.{name}").HEAD
