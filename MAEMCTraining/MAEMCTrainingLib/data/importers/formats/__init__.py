"""The importers: from a data set as it is distributed to the rows of a manifest.

A file NAME.py of this folder with an ``IMPORTER`` is the importer NAME (``lidc-cubes`` of lidc_cubes.py). It gives rows
with the source's own identifiers and names everything that it skips; hashing the identifiers is the same for all
(``pseudonymized``).
"""

from importlib import import_module
from pkgutil import iter_modules

from ..imported import Importer


def importers() -> dict[str, Importer]:
    """{name: importer}, in the order of the names."""
    names = sorted(found.name for found in iter_modules(__path__))
    return {name.replace("_", "-"): import_module(f"{__name__}.{name}").IMPORTER for name in names}
