"""The command line ``maemc-train``: from CT and a manifest to a model bundle."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

from MAEMCLib.errors import MAEMCError
from MAEMCLib.terminal import harmless_printing

from .commands import comparison, data, evaluation, experiment, fusion, jobs, methods, reduction, training
from .processes import leave


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0 done, 2 wrong usage, 3 unusable input, 4 unusable model, 130 stopped, 1 a defect of ours.
    """
    with harmless_printing():
        return leave(_run(_options(list(sys.argv[1:] if arguments is None else arguments))))


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


def _run(options: argparse.Namespace) -> int:
    """The command's exit code; what went wrong is told, not raised."""
    try:
        return options.run(options) or 0
    except MAEMCError as error:
        print(f"maemc-train: {error}", file=sys.stderr)
        if options.verbose:
            traceback.print_exc()
        return error.exit_code
    except KeyboardInterrupt:
        print("maemc-train: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, for example head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if options.verbose:
            traceback.print_exc()
        text = f"unexpected {type(error).__name__}: {error}"
        print(f"maemc-train: {text}. Run again with --verbose and report what it prints.", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "maemc-train",
        description="Prepare data, train and evaluate models for pulmonary nodules, and export them for scoring.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for subject in (data, reduction, methods, training, fusion, evaluation, comparison, experiment, jobs):
        subject.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
