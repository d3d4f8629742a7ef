"""The command ``maemc-train methods``: what can be pre-trained, on what, and where it was published."""

import argparse
import textwrap
from typing import Any

from ..pretraining.registry import METHODS
from . import add_command


def add(commands: Any) -> None:
    """Add the command to the parser."""
    add_command(commands, "methods", _methods, "list the pre-training methods, what they need and their sources")


def _methods(options: argparse.Namespace) -> None:
    from MAEMCLib.networks.configuration import BACKBONES
    from MAEMCLib.networks.configuration import PRESETS as NETWORKS

    for name, facts in METHODS.items():
        print(f"{name}: {facts.title}")
        needs = f" Needs {' and '.join(facts.needs_in_words)}." if facts.needs_in_words else ""
        print(textwrap.fill(f"{facts.sentence}{needs}", 100, initial_indent="    ", subsequent_indent="    "))
        print(f"    {facts.source}")
    print(f"\nbackbones: {', '.join([*NETWORKS, *BACKBONES])}")
