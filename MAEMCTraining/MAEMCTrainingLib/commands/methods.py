"""The command ``maemc-train methods``: what can be pre-trained, on what, and where it was published."""

from __future__ import annotations

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

    for name, entry in METHODS.items():
        print(f"{name}: {entry.title}")
        needs = f" Needs {' and '.join(entry.needs)}." if entry.needs else ""
        print(textwrap.fill(f"{entry.sentence}{needs}", 100, initial_indent="    ", subsequent_indent="    "))
        print(f"    {entry.source}")
    print(f"\nbackbones: {', '.join([*NETWORKS, *BACKBONES])}")
