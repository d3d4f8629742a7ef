"""The commands of ``maemc-train``, a file a subject, and what they share.

torch and SimpleITK take seconds to import: each command imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, Self

TRAINING = ("torch", "scipy", "sklearn")
"""What commands that train or evaluate import, whatever the method."""


def add_command(
    commands: Any, name: str, run: Callable, summary: str, needs: tuple[str, ...] = ()
) -> argparse.ArgumentParser:
    """A command's parser with the options that all commands have; ``run`` is called with what was typed.

    needs: packages it cannot do without, by the names they are imported by; they are looked for before it begins.
    """
    command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    command.set_defaults(run=run, needs=needs)
    command.add_argument("--quiet", action="store_true", help="no progress, errors only")
    command.add_argument("--verbose", action="store_true", help="say more, and where an error came from")
    return command


class TerminalLine:
    """One line on standard error, renewed in place; nothing where that is no terminal, or where all shall be quiet."""

    def __init__(self, quiet: bool) -> None:
        self.live, self.shown = not quiet and sys.stderr.isatty(), False

    def renew(self, text: str) -> None:
        """Show another text in the place of the last one."""
        if self.live:
            self.shown = True
            print(f"\r{text:60}", end="", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.shown:
            print(file=sys.stderr)


class Counter(TerminalLine):
    """A count of cases."""

    def __init__(self, what: str, quiet: bool) -> None:
        super().__init__(quiet)
        self.what = what

    def __call__(self, done: int, total: int) -> None:
        self.renew(f"{self.what} case {done} of {total}")


def make_parser(subjects: Sequence[Any]) -> argparse.ArgumentParser:
    """The parser of ``maemc-train`` with the commands of these modules."""
    parser = argparse.ArgumentParser(
        "maemc-train",
        description="Prepare data, train and evaluate models for pulmonary nodules, and export them for scoring.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for subject in subjects:
        subject.add(commands)
    return parser


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """What was typed, and in ``arguments`` the words themselves. Ends the process where they are wrong."""
    options, rest = parser.parse_known_args(arguments)
    # argparse takes positionals from one place only; KEY=VALUE may stand anywhere.
    if wrong := [word for word in rest if word.startswith("-") or "=" not in word or "overrides" not in options]:
        parser.error(f"unrecognized arguments: {' '.join(wrong)}")
    if "overrides" in options:
        options.overrides += rest
    options.arguments = list(arguments)
    return options
