"""The commands of ``maemc-train``, a file a subject, and what they share.

torch and SimpleITK take seconds to import: each command imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from MAEMCLib.report.sections import Report

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


def add_data(command: argparse.ArgumentParser, name: str = "--data", **others: Any) -> None:
    """An option that takes manifests and caches and may be repeated."""
    others = {"default": [], "metavar": "MANIFEST|CACHE"} | others
    command.add_argument(name, type=Path, action="append", **others)


def add_output(command: argparse.ArgumentParser, metavar: str = "DIR", **others: Any) -> None:
    """``--output``, which has to be given."""
    command.add_argument("--output", type=Path, required=True, metavar=metavar, **others)


def add_machine(command: argparse.ArgumentParser) -> None:
    """``--device`` and ``--threads``, as ``engine.processes.chosen_device`` takes them."""
    command.add_argument("--device", default="auto")
    command.add_argument(
        "--threads", type=int, metavar="N", help="processor threads (bit-identical runs need the same)"
    )


def show(report: Report) -> None:
    """Print a report."""
    from MAEMCLib.report.formats import render

    print(render(report, "txt"))


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
    """What was typed; in ``arguments`` the words themselves, in ``detached`` whether ``launch`` started the process.
    Ends the process where they are wrong."""
    from ..jobs.launching import is_detached

    options, rest = parser.parse_known_args(arguments)
    # argparse takes positionals from one place only; KEY=VALUE may stand anywhere.
    if wrong := [word for word in rest if word.startswith("-") or "=" not in word or "overrides" not in options]:
        parser.error(f"unrecognized arguments: {' '.join(wrong)}")
    if "overrides" in options:
        options.overrides += rest
    options.arguments, options.detached = list(arguments), is_detached()
    return options
