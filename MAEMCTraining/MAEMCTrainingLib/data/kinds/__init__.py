"""The kinds of pictures that can be learned from, by name: every module of this folder that has a ``KIND``."""

from __future__ import annotations

import importlib
import pkgutil

from MAEMCLib.cases.manifest import Manifest
from MAEMCLib.errors import InputError

from .kind import Kind

_MODULES = (importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__))
KINDS: dict[str, Kind] = {module.KIND.name: module.KIND for module in _MODULES if hasattr(module, "KIND")}


def kind_of(manifest: Manifest) -> Kind:
    """The kind of a manifest's rows. Raises InputError for a mixture."""
    kinds = {kind.name: kind for row in manifest.rows for kind in KINDS.values() if row.kind in kind.rows}
    if len(kinds) > 1:
        titles = " and ".join(kind.title for kind in kinds.values())
        raise InputError(
            f"The manifest {manifest.path} has {titles}. Write a manifest for each.", "mixed-kinds", [manifest.path]
        )
    return next(iter(kinds.values()))
