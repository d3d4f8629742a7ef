"""The heads of a classifier. A file NAME.py in this folder with a class ``HEAD``, a ``Classifier``, is the head NAME.

``finetune ... head=NAME`` trains one that looks at each branch by itself. One that relates branches is trained by
``fuse ... head=NAME``; it also has ``set_standardization``, as the graph's.
"""

import pkgutil
from importlib import import_module

from ...errors import ArchitectureError
from ..classifier import Classifier

HEADS: tuple[str, ...] = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def head_named(name: str) -> type[Classifier]:
    """The class of a head. Raises ModelError for a name that there is no file of."""
    if name not in HEADS:
        raise ArchitectureError(
            f"There is no head '{name}' here; the heads are {', '.join(HEADS)}. Get the version of MAEMC that has it.",
        )
    return import_module(f"{__name__}.{name}").HEAD
