"""The experiments by their names: all that the modules of ``definitions`` have."""

from importlib import import_module
from pkgutil import iter_modules

from MAEMCLib.errors import UsageError

from . import definitions
from .cell import Experiment


def experiments() -> dict[str, Experiment]:
    """{name: experiment}, in the order of the names."""
    modules = (import_module(f"{__package__}.definitions.{found.name}") for found in iter_modules(definitions.__path__))
    return dict(sorted(pair for module in modules for pair in module.EXPERIMENTS.items()))


def experiment_named(name: str) -> Experiment:
    """Raises UsageError for a name that no experiment has."""
    named = experiments()
    if name not in named:
        raise UsageError(f"There is no experiment '{name}'. Choose one of {', '.join(named)}.", "experiment")
    return named[name]
