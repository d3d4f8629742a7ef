"""The kinds of pictures that can be learned from, by name: every module of this folder that has a ``KIND``."""

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

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


def kind_of_job(settings: Mapping[str, Any]) -> Kind:
    """The kind that a job learned from; jobs of earlier versions tell it by their preprocessing alone."""
    return KINDS[settings.get("input") or ("picture" if "view_share" in settings["preprocessing"] else "nodule")]
