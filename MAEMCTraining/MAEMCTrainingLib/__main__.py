"""The command line ``maemc-train``: from CT and a manifest to a model bundle."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0 done, 2 wrong usage, 3 unusable input, 4 unusable model, 130 stopped, 143 terminated, 1 the machine lacks
    something (PyTorch, memory), or a defect of ours.
    """
    # Imports stand where they are used: Ctrl-C in the half second that they take ends as quietly as it does later.
    try:
        from MAEMCLib.machine.interruption import interruptible
        from MAEMCLib.machine.terminal import harmless_printing

        with harmless_printing(), interruptible():
            code = _run(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt as stopped:
        terminated = type(stopped) is not KeyboardInterrupt
        print(f"maemc-train: {'terminated' if terminated else 'interrupted'}", file=sys.stderr)
        code = 143 if terminated else 130
    from .engine.processes import leave

    return leave(code)


def _run(arguments: list[str]) -> int:
    from MAEMCLib.commands.command_line import run

    options = _options(arguments)
    return run("maemc-train", lambda: _in_public(options), options.verbose, options.quiet)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    # argparse takes positionals from one place only; KEY=VALUE may stand anywhere.
    if wrong := [word for word in rest if word.startswith("-") or "=" not in word or "overrides" not in options]:
        parser.error(f"unrecognized arguments: {' '.join(wrong)}")
    if "overrides" in options:
        options.overrides += rest
    options.arguments = arguments
    return options


def _in_public(options: argparse.Namespace) -> int | None:
    """Run the command; what a detached one says of an error stays in its job's folder, and names nobody."""
    from MAEMCLib.errors import MAEMCError

    from .jobs.launching import is_detached

    try:
        return _checked(options)
    except MAEMCError as error:
        if not is_detached():
            raise
        raise type(error)(error.anonymous, error.code) from None


def _checked(options: argparse.Namespace) -> int | None:
    """Run the command once what it needs is there."""
    from MAEMCLib.machine.installation import check_packages, check_torch

    light = [name for name in options.needs if name not in ("torch", "timm")]
    check_packages(*light)
    if "torch" in options.needs:
        check_torch()
    check_packages(*(name for name in options.needs if name == "timm"))  # it imports torch
    return options.run(options)


def _parser() -> argparse.ArgumentParser:
    import argparse

    from .commands import (
        comparison,
        data,
        evaluation,
        experiment,
        fusion,
        importing,
        jobs,
        methods,
        reduction,
        training,
    )

    parser = argparse.ArgumentParser(
        "maemc-train",
        description="Prepare data, train and evaluate models for pulmonary nodules, and export them for scoring.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for subject in (data, importing, reduction, methods, training, fusion, evaluation, comparison, experiment, jobs):
        subject.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
