"""The commands of ``maemc-train``, a file a subject, and what they share.

torch and SimpleITK take seconds to import: each command imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any


def add_command(commands: Any, name: str, run: Callable, summary: str) -> argparse.ArgumentParser:
    """A command's parser with the options that all commands have; ``run`` is called with what was typed."""
    command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    command.set_defaults(run=run)
    command.add_argument("--quiet", action="store_true", help="no progress, errors only")
    command.add_argument("--verbose", action="store_true", help="show where an error came from")
    return command


class Counter:
    """A count of cases on standard error, renewed in place on a terminal."""

    def __init__(self, what: str, quiet: bool) -> None:
        self.what, self.shown = what, False
        self.live = not quiet and sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        if self.live:
            self.shown = True
            print(f"\r{self.what} case {done} of {total}", end="", file=sys.stderr, flush=True)

    def __enter__(self) -> Counter:
        return self

    def __exit__(self, *error: object) -> None:
        if self.shown:
            print(file=sys.stderr)
