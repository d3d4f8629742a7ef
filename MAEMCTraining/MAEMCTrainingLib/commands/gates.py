"""The command ``maemc-train gates``."""

import argparse
from pathlib import Path
from typing import Any

from . import add_command, show


def add(commands: Any) -> None:
    """Add the command to the parser."""
    command = add_command(
        commands, "gates", _gates, "how often each gate fires in the results of 'maemc batch', beside readers' ratings"
    )
    command.add_argument("results", type=Path, metavar="RESULTS", help="results.csv of maemc batch")
    command.add_argument("--data", type=Path, required=True, metavar="MANIFEST", help="what was scored")


def _gates(options: argparse.Namespace) -> None:
    from ..evaluation.gates import gates_report

    show(gates_report(options.results, options.data))
